"""How well independent detectors predict whether a counterfactual is truly normal.

python studies/second_opinion.py --data DATA [--sets cmnist/one+cyan ...] [--seeds 0 1 2] [--out F]

Of every set and seed: a detector, a generator and a judge are trained on a small budget, the first
test anomalies are explained, and the independent detectors of `ifnormal explain` are asked. The
judge's verdict is the truth. Rows go to `studies/results/second_opinion.json`, one after the other;
rows that are there already are kept. Several processes need a file each.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.benchmarks.experiment import BenchRun, Workplace
from ifnormal.benchmarks.materials import Materials
from ifnormal.common.provenance import provenance
from ifnormal.common.storage import read_json, write_json
from ifnormal.evaluation.auroc import auroc
from ifnormal.evaluation.evaluate import explanation_truth
from ifnormal.evaluation.truth import normal_share

RESULTS = Path(__file__).parent / "results" / "second_opinion.json"
SETS = ("cmnist/one+cyan", "gtsrb/speed-limits", "cifar10/one-vs-rest/airplane")
ANOMALIES = 100
OPTIONS: Mapping[str, Any] = {
    "detector.steps": 200,
    "detector.batch_size": 64,
    "fit.steps": 250,
    "fit.batch_size": 16,
    "fit.concepts": 2,
    "judge_steps": 300,
    "data.test_images": 300,
    "data.outliers": 2000,
}


def main() -> None:
    """Do the runs that are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    rows = read_json(given.out)["rows"] if given.out.exists() else []
    for seed in given.seeds:
        for name in given.sets:
            if any((row["set"], row["seed"]) == (name, seed) for row in rows):
                continue
            begun = time.process_time()
            row = {"set": name, "seed": seed, **measure(name, seed, given.data)}
            rows.append({**row, "cpu_s": round(time.process_time() - begun, 1)})
            print(rows[-1], flush=True)
            write_json(given.out, {**provenance(), "options": dict(OPTIONS), "rows": rows})


def measure(name: str, seed: int, data: Path) -> dict[str, Any]:
    """The figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        run = BenchRun("second_opinion", name, "bce", seed, options=OPTIONS)
        made = Materials(run, out / "run", Workplace(out, data))
        explanation = made.independent.ask(made.explain(ANOMALIES))
        assert made.judge is not None
        assert explanation.second_opinion is not None
        normal = explanation_truth(explanation, made.setup, made.judge).is_normal.flatten()
        judge, attributes = made.judge, made.setup.normal_attributes

    def judged(images: Tensor) -> float:
        return normal_share(judge.predict(images), attributes)

    opinions = explanation.second_opinion
    accepts = opinions.accepts_after.flatten(0, 1)
    return {
        "judge_accepts_real_normal": judged(made.setup.test_normal[:ANOMALIES]),
        "judge_accepts_anomalies": judged(explanation.anomalies),
        "detectors": [second.detector for second in opinions.detectors],
        "truly_normal": share(normal),
        "valid": share(explanation.valid.flatten()),
        "accepted_by_both": share(accepts.all(1)),
        "anomalies_accepted_by_both": share(opinions.accepts_before.all(1)),
        "real_normal_accepted_by_both": opinions.normal_accepted_by[-1]
        / sum(opinions.normal_accepted_by),
        "all": prediction(
            normal, explanation.calibrated_scores_after.flatten(), accepts, opinions.scores_after
        ),
        "valid_only": None
        if not explanation.valid.any()
        else prediction(
            normal[explanation.valid.flatten()],
            explanation.calibrated_scores_after[explanation.valid],
            accepts[explanation.valid.flatten()],
            opinions.scores_after[explanation.valid],
        ),
    }


def prediction(normal: Tensor, own: Tensor, accepts: Tensor, scores: Tensor) -> dict[str, Any]:
    """How well opinions predict the truth.

    Args:
        normal: (E,) bool, the judge's verdict of each edit.
        own: (E,) scores of the explained detector.
        accepts: (E, D) bool.
        scores: E x D scores of the independent detectors.

    Returns:
        edits, truly_normal: how many there are; agreement: the share where "accepted by both" says
        what the judge says; of_accepted, of_refused: the share of truly normal ones among those
        accepted by both, and among the others; AuROC in % of "accepted by both", of the mean of the
        scores, and of the explained detector's own score. None where it is not defined.
    """
    both, mean = accepts.all(1), scores.reshape(len(normal), -1).mean(1)
    return {
        "edits": len(normal),
        "truly_normal": int(normal.sum()),
        "agreement": share(both == normal),
        "of_accepted": share(normal[both]),
        "of_refused": share(normal[~both]),
        "auroc_accepted": separates(normal, 1 - both.float()),
        "auroc_mean_score": separates(normal, mean),
        "auroc_own_score": separates(normal, own),
    }


def separates(normal: Tensor, scores: Tensor) -> float | None:
    """AuROC in % of scores, high for edits that are not normal; None where all edits are alike."""
    if normal.all() or not normal.any():
        return None
    return auroc(scores[normal].float(), scores[~normal].float())


def share(where: Tensor) -> float | None:
    """The share of True; None where there is nothing."""
    return float(where.double().mean()) if len(where) else None


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
