"""How much memory explaining image files takes, for a few images and for many.

python studies/memory.py --images 500 20000

The files are coloured digits, as PNG, of which a third or more are flagged; detector and explainer
are small, as memory beyond their own is what is asked for. Each number of images is a process of
its own, which explains everything from the first file to the report; its peak is what the system
says it was (resident set, VmHWM; Linux only).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ifnormal.common.storage import write_json
from ifnormal.config import DataConfig, DetectorConfig, FitConfig, GeneratorConfig

RESULTS = Path(__file__).parent / "results" / "memory.json"
GOAL = 1.2
_PER_FOLDER = 1000
_SMALL = FitConfig(
    steps=100,
    batch_size=16,
    generator=GeneratorConfig(width=8, inner_blocks=1),
    discriminator_width=8,
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[500, 20000], metavar="N")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure is not None:
        print(json.dumps(measure(*options.measure)))
        return
    if min(options.images) < 1:
        parser.error("--images must be at least 1.")
    from ifnormal.common.provenance import provenance

    figures = {}
    with TemporaryDirectory() as folder:
        fit(Path(folder))
        for count in options.images:
            write_pictures(Path(folder) / f"{count}", count)
            figures[str(count)] = in_a_process(Path(folder), count)
            print(count, figures[str(count)], flush=True)
    peaks = [figures[str(count)]["peak_mb"] for count in options.images]
    ratio = round(max(peaks) / peaks[0], 3)
    print(f"{ratio} of the first one's peak; the goal is at most {GOAL}")
    facts = {**provenance(), "date": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    write_json(
        options.out, {"figures": figures, "largest_to_first": ratio, "goal": GOAL, "facts": facts}
    )


def fit(folder: Path) -> None:
    """A small detector and explainer, which know a coloured digit but are not good at it."""
    from ifnormal.data import load_setup
    from ifnormal.detectors.builtin.training import train_detector
    from ifnormal.explainers.explainer import Explainer

    setup = load_setup(DataConfig(drawings=1000, outliers=500), seed=0)
    detector = train_detector(setup, DetectorConfig(steps=200, batch_size=32, width=8), seed=0)
    Explainer(detector, _SMALL).fit(setup.train_normal, setup.outliers).save(folder / "explainer")


def write_pictures(folder: Path, count: int) -> None:
    """Coloured digits over and over as PNG files, a thousand a folder."""
    import torch

    from ifnormal.common.pixels import png_bytes
    from ifnormal.data import load_setup

    setup = load_setup(DataConfig(drawings=1000, outliers=500), seed=0)
    known = [png_bytes(i) for i in torch.cat([setup.test_normal, setup.test_anomalies])]
    for n in range(count):
        path = folder / f"{n // _PER_FOLDER:03d}" / f"a digit, number {n:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(known[n * 7919 % len(known)])


def in_a_process(folder: Path, count: int) -> dict[str, Any]:
    """`measure` in a new Python, as a process keeps the memory it once had."""
    command = [sys.executable, __file__, "--measure", str(folder), str(folder / f"{count}")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(folder: Path, pictures: Path) -> dict[str, Any]:
    """Explain all pictures in a folder and tell the peak of this process."""
    from ifnormal.data.files.finding import find_images
    from ifnormal.explainers.explainer import Explainer
    from ifnormal.jobs import stream as explanation_stream

    peaks = {}
    write_report = explanation_stream.write_report

    def report(folder: Path) -> Path:
        peaks["peak_before_report_mb"] = peak()
        return write_report(folder)

    explanation_stream.write_report = report
    explainer = Explainer.load(folder / "explainer")
    before, begun = peak(), time.perf_counter()
    summary = explanation_stream.explain_images(
        explainer, find_images([pictures]), pictures / "out"
    )
    assert summary.report is not None
    return {
        "images": summary.counts.images,
        "explained": summary.counts.explained,
        "before_mb": before,
        **peaks,
        "peak_mb": peak(),
        "seconds": round(time.perf_counter() - begun, 1),
        "images_per_s": round(summary.images_per_second, 1),
        "explanation_mb": megabytes(pictures / "out" / "explanation.json"),
        "report_mb": megabytes(summary.report),
    }


def peak() -> float:
    """The largest resident set of this process so far, in MB; on Linux."""
    # Not getrusage, whose figure begins with what the parent had when it forked.
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024, 1)


def megabytes(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 2)


if __name__ == "__main__":
    main()
