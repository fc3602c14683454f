"""A picture of real output: the first anomalies of a run and their counterfactuals.

python studies/picture.py runs/demo docs/images/demo.png

The first ones in the order of the run, none left out for its result; a column for each, with the
scores of the detector.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ifnormal.benchmarks.pictures import decided, write_grid
from ifnormal.explanation.explanation import Explanation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=14)
    options = parser.parse_args()
    explanation = Explanation.load(options.run / "explanation")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    print(picture(explanation, options.count, options.out))


def picture(explanation: Explanation, count: int, path: Path) -> Path:
    """Write a row of anomalies, and below it one row for each concept."""
    count = min(count, len(explanation))
    rows = [(explanation.anomalies, explanation.calibrated_scores_before)]
    edits = zip(
        explanation.counterfactuals.unbind(1),
        explanation.calibrated_scores_after.unbind(1),
        strict=True,
    )
    tiles = [decided(i[:count], s[:count], explanation) for i, s in (*rows, *edits)]
    return write_grid(path, [("", tiles)], side=64)


if __name__ == "__main__":
    main()
