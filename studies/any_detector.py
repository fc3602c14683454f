"""One detector, three doors: its own network, its ONNX export, and its bare scores.

python studies/any_detector.py --seeds 0

The same Colored-MNIST setup and the same trained detector are explained natively, through an ONNX
file and as a black box that returns numbers and has no gradient. The final counterfactuals are
always scored by the real detector, and judged by the independent classifier of digit and colour.
Results go to `studies/results/any-detector.json`; finished rows are not measured again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.common.provenance import versions
from ifnormal.common.storage import read_json, write_json
from ifnormal.config import DataConfig, FitConfig
from ifnormal.data import load_setup
from ifnormal.detectors.adapted.detector import adapt
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.detector import Detector, in_batches
from ifnormal.detectors.loading import load_detector
from ifnormal.evaluation.auroc import auroc
from ifnormal.evaluation.evaluate import evaluate
from ifnormal.explainers.explainer import Explainer
from trained_once import trained_detector, trained_judge

RESULTS = Path(__file__).parent / "results" / "any-detector.json"
COLUMNS = ("normality_auroc", "validity", "truly_normal", "minimal_edit", "two_ways", "fid_n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=FitConfig().steps)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--doors", nargs="+", default=list(DOORS), choices=list(DOORS))
    parser.add_argument("--runs", type=Path, default=Path("runs/any-detector"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    for seed in options.seeds:
        for door in options.doors:
            path = options.runs / f"{door}-{options.steps}-{seed}.json"
            if not path.exists():
                write_json(path, run(door, seed, options.steps, options.runs))
    collect(options.runs, options.steps, options.results)


def run(door: str, seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """Fit and measure an explainer that meets the detector through one door."""
    setup = load_setup(DataConfig(), seed)
    native, judge = trained_detector(setup, seed, folder), trained_judge(setup, folder)
    detector = DOORS[door](native, folder / f"detector-{seed}")
    begun = time.perf_counter()
    explainer = Explainer(detector, replace(FitConfig(), steps=steps))
    explainer.fit(setup.train_normal, setup.outliers, seed)
    seconds = time.perf_counter() - begun
    explanation = explainer.explain(setup.test_anomalies, traversals=0)
    explainer.save(folder / f"{door}-{steps}-{seed}")
    explanation.save(folder / f"{door}-{steps}-{seed}" / "explanation")
    normal_scores = in_batches(explainer.detector, setup.test_normal)
    quality = auroc(normal_scores, explanation.calibrated_scores_before)
    figures = evaluate(explanation, normal_scores, setup, judge, seed, quality)
    return {
        "door": door,
        "seed": seed,
        "steps": steps,
        **figures,
        "valid_for_native": _share_valid(native, explanation.counterfactuals),
        "seconds": round(seconds, 1),
        "facts": explainer.facts,
        "versions": versions(),
    }


def collect(runs: Path, steps: int, results: Path) -> None:
    """Write all finished rows into one file and print the table."""
    rows = [read_json(path) for path in sorted(runs.glob(f"*-{steps}-*.json"))]
    write_json(results, {"steps": steps, "rows": rows})
    print("| detector | seeds | " + " | ".join(COLUMNS) + " | queries |")
    print("|" + " --- |" * (3 + len(COLUMNS)))
    for door in DOORS:
        mine = [row for row in rows if row["door"] == door]
        if mine:
            cells = [_cell([_scalar(row[key]) for row in mine]) for key in COLUMNS]
            queries = {_queries(row) for row in mine}
            print(f"| {door} | {len(mine)} | {' | '.join(cells)} | {max(queries):,} |")


def _native(detector: TrainedDetector, folder: Path) -> Detector:
    return detector


def _onnx(detector: TrainedDetector, folder: Path) -> Detector:
    """The same network as a file: scores out, as an export of a user's would give them."""
    path = folder / "detector.onnx"
    if not path.exists():
        example = torch.rand(2, *detector.shape)
        batch = torch.export.Dim("batch", min=1)
        torch.onnx.export(
            _Scores(detector),
            (example,),
            str(path),
            input_names=["images"],
            output_names=["scores"],
            dynamic_shapes=({0: batch},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    return load_detector(str(path), shape=detector.shape, threshold=detector.threshold)


def _black_box(detector: TrainedDetector, folder: Path) -> Detector:
    """The same network behind a function that returns numbers."""

    def scores(images: Tensor) -> Any:
        with torch.no_grad():
            return detector(images).numpy()

    return adapt(scores, shape=detector.shape, black_box=True, threshold_own=detector.threshold)


DOORS: dict[str, Callable[[TrainedDetector, Path], Detector]] = {
    "native": _native,
    "onnx": _onnx,
    "black-box": _black_box,
}


class _Scores(nn.Module):
    def __init__(self, detector: TrainedDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        return self.detector(images)


def _share_valid(detector: TrainedDetector, edits: Tensor) -> list[float]:
    """Share of counterfactuals, a concept each, that the native detector accepts, in %."""
    scores = in_batches(detector, edits.flatten(0, 1)).view(edits.shape[:2])
    accepted = (scores <= detector.threshold).float().mean(0)
    return [round(100 * float(share), 2) for share in accepted]


def _queries(row: dict[str, Any]) -> int:
    return int(row["facts"].get("surrogate", {}).get("queries", {}).get("used", 0))


def _scalar(value: Any) -> float | None:
    return mean(value) if isinstance(value, list) else value


def _cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    return f"{mean(known):.1f} ± {stdev(known):.1f}" if len(known) > 1 else f"{known[0]:.1f}"


if __name__ == "__main__":
    main()
