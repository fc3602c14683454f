"""Are refined counterfactuals better, or adversarial noise? Do thrifty ones stay true?

python studies/refinement.py --runs runs/seeds

Takes finished demo runs. Each is asked as it is; with an explainer that was trained for a few steps
only; and with thresholds so strict that many or all counterfactuals miss them. A second detector
that was trained apart, on another seed or with another objective, must agree: it has never met the
gradient. The plain gradient on the pixels shows what adversarial noise looks like in these figures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from copy import copy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.benchmarks.pictures import write_columns
from ifnormal.common.storage import write_json
from ifnormal.config import DataConfig, RefineConfig, ThriftConfig
from ifnormal.data import load_setup
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.detector import in_batches
from ifnormal.evaluation.distance import mse
from ifnormal.evaluation.fid import fid_n
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.evaluation.truth import truth
from ifnormal.evaluation.validity import validity
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.pixel_gradient import gradient_counterfactuals
from ifnormal.explainers.refine import refine
from ifnormal.explainers.thrift import thrift

RESULTS = Path(__file__).parent / "results"
RUNS = [*(f"demo-bce-small-embedded-{seed}" for seed in range(3)), "demo-hsc-small-embedded-0"]
# Names of thresholds, and the share of normal test images that each lets pass; None is the run's.
THRESHOLDS = {"own": None, "strict": 0.75, "median": 0.5}
SHOWN = 25


@dataclass(frozen=True)
class Case:
    """One explainer and threshold, with what is needed to judge its counterfactuals."""

    name: str
    run: str
    threshold: str
    setup: AnomalySetup
    anomalies: Tensor
    attributes: dict[str, Tensor]
    explainer: Explainer
    detector: TrainedDetector
    judge: AttributeJudge
    others: dict[str, TrainedDetector]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/seeds"))
    parser.add_argument("--short", type=Path, default=Path("runs/refinement"))
    parser.add_argument("--short-steps", type=int, default=300)
    parser.add_argument("--every", type=int, default=3, help="take every so manieth test anomaly")
    parser.add_argument("--only", help="run the cases whose name contains this, save nothing")
    parser.add_argument("--out", type=Path, default=RESULTS / "refinement.json")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for case in _cases(options):
        results[case.name] = _measure(case, options.short)
    if options.only:
        return
    write_json(
        options.out,
        {
            "question": " ".join(__doc__.split("\n\n")[2].split()),
            "refine": asdict(RefineConfig()),
            "thrift": asdict(ThriftConfig()),
            "short_steps": options.short_steps,
            "torch": torch.__version__,
            "cases": results,
        },
    )
    print(options.out)


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    detectors = {name: TrainedDetector.load(options.runs / name / "detector") for name in RUNS}
    for run in RUNS:
        kinds = [("trained", threshold) for threshold in THRESHOLDS]
        kinds += [("short", "own")] if "bce" in run else []
        for kind, threshold in kinds:
            name = f"{run}, {kind}, {threshold} threshold"
            if options.only and options.only not in name:
                continue
            seed, own = int(run[-1]), detectors[run]
            setup = load_setup(DataConfig(), seed)
            explainer = Explainer.load(options.runs / run / "explainer", own)
            if kind == "short":
                explainer = _short(explainer, setup, seed, options.short / run, options.short_steps)
            detector = copy(own)
            share = THRESHOLDS[threshold]
            if share is not None:
                detector.threshold = float(in_batches(own, setup.test_normal).quantile(share))
            known = setup.attributes["test_anomalies"]
            yield Case(
                name=name,
                run=run,
                threshold=threshold,
                setup=setup,
                anomalies=setup.test_anomalies[:: options.every],
                attributes={key: values[:: options.every] for key, values in known.items()},
                explainer=explainer,
                detector=detector,
                judge=AttributeJudge.load(options.runs / run / "judge"),
                others={other: detectors[other] for other in RUNS if other != run},
            )


def _short(
    explainer: Explainer, setup: AnomalySetup, seed: int, folder: Path, steps: int
) -> Explainer:
    """The same explainer, trained for a few steps only; kept for the next time."""
    folder = folder / f"explainer-{steps}-steps"
    if not (folder / "explainer.json").exists():
        short = Explainer(explainer.detector, replace(explainer.config, steps=steps))
        short.fit(setup.train_normal, setup.outliers, seed).save(folder)
    return Explainer.load(folder, explainer.detector)


def _measure(case: Case, folder: Path) -> dict[str, Any]:
    print(f"\n{case.name}: threshold {case.detector.threshold:.4f}")
    anomalies, detector, generator = case.anomalies, case.detector, case.explainer.generator
    first = case.explainer.explain(anomalies, traversals=0).counterfactuals
    figures = {"threshold": detector.threshold, "anomalies": len(anomalies)}
    figures["before"] = _figures("before", case, first)
    shown = {"anomaly": anomalies, **_by_concept("before", first)}

    def done(name: str, edits: Tensor, begun: float, changed: Tensor, queries: int) -> None:
        seconds = time.perf_counter() - begun
        figures[name] = {
            **_figures(name, case, edits),
            "changed": [int(count) for count in changed.sum(0)],
            "queries": queries,
            "seconds": round(seconds, 1),
        }
        if name != "gradient":
            shown.update(_by_concept(name, edits))

    begun = time.perf_counter()
    refined = refine(generator, detector, anomalies, first)
    done("refined", refined.images, begun, refined.changed, refined.queries)
    begun = time.perf_counter()
    spare = thrift(case.explainer.editor.edit_each, detector, anomalies, refined.images)
    done("refined, thrifty", spare.images, begun, spare.changed, spare.queries)
    begun = time.perf_counter()
    # Any edit that the score does not need: the form of thrift that does not work.
    greedy = ThriftConfig(spend=1.0, again=1e9)
    bare = thrift(case.explainer.editor.edit_each, detector, anomalies, refined.images, greedy)
    done("refined, thrifty by score alone", bare.images, begun, bare.changed, bare.queries)
    if case.threshold == "own":
        begun = time.perf_counter()
        names = tuple(map(str, range(len(anomalies))))
        plain = gradient_counterfactuals(detector, anomalies, names).counterfactuals
        done("gradient", plain, begun, torch.ones(plain.shape[:2]), 200 * len(anomalies))
        shown["gradient"] = plain[:, 0]
    every = max(1, len(anomalies) // SHOWN)
    name = case.name.replace(", ", "-").replace(" ", "-")
    write_columns(folder / f"{name}.png", {k: v[::every] for k, v in shown.items()}, SHOWN)
    return figures


def _by_concept(name: str, edits: Tensor) -> dict[str, Tensor]:
    """Title -> edits of one concept, of (N, K, C, H, W)."""
    return {f"{name} {k}": edits[:, k] for k in range(edits.shape[1])}


def _figures(name: str, case: Case, edits: Tensor) -> dict[str, Any]:
    """What is reported of counterfactuals (N, K, C, H, W): lists have one entry a concept."""
    judge, setup = case.judge, case.setup
    scores = _scores(case.detector, edits)
    valid = scores <= case.detector.threshold
    judged = truth(judge.predict(edits), case.attributes, setup.normal_attributes)
    normal_features = judge.features(setup.test_normal)
    agreement, of_all = {}, {}
    for other, detector in case.others.items():
        agrees = _scores(detector, edits) <= detector.threshold
        agreement[other] = [_share(column[ok]) for column, ok in _columns(agrees, valid)]
        of_all[other] = [_share(column) for column, _ in _columns(agrees, valid)]
    figures = {
        "validity": [round(share, 1) for share in validity(scores, case.detector.threshold)],
        "truly_normal": [round(share, 1) for share in judged.truly_normal],
        "truly_normal_of_valid": [
            _share(column[ok]) for column, ok in _columns(judged.is_normal, valid)
        ],
        "minimal_edit": judged.minimal_edit and [round(share, 1) for share in judged.minimal_edit],
        "two_reasons": None if judged.two_reasons is None else round(judged.two_reasons, 1),
        "mse": [round(value, 5) for value in mse(case.anomalies, edits)],
        "fid_n": round(
            fid_n(
                judge.features(edits.flatten(0, 1)),
                judge.features(case.anomalies),
                normal_features,
            ),
            2,
        ),
        "fid_extractor": judge.extractor,
        "agreement_of_valid": agreement,
        "agreement_of_all": of_all,
    }
    least = [min((a[k] for a in agreement.values() if a[k] is not None), default=None)
             for k in range(edits.shape[1])]  # fmt: skip
    print(
        f"  {name:32s} valid {figures['validity']} agree >= {least} "
        f"true {figures['truly_normal']} of valid {figures['truly_normal_of_valid']} "
        f"two reasons {figures['two_reasons']} mse {figures['mse']} fid_n {figures['fid_n']}",
        flush=True,
    )
    return figures


def _columns(values: Tensor, valid: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(values.unbind(1), valid.unbind(1), strict=True)


def _share(values: Tensor) -> float | None:
    """In %; None where there is nothing to take a share of."""
    return round(100 * values.double().mean().item(), 1) if len(values) else None


def _scores(detector: TrainedDetector, images: Tensor) -> Tensor:
    return in_batches(detector, images.flatten(0, 1)).view(images.shape[:2])


if __name__ == "__main__":
    main()
