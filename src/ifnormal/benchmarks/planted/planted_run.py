"""One run of a planted reason: detector, explainer, figures, pictures, report."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from ifnormal.benchmarks.bench_run import BenchRun
from ifnormal.benchmarks.contact_sheet import write_contact_sheet
from ifnormal.benchmarks.experiment import Workplace
from ifnormal.benchmarks.materials import fitted, trained_detector, trained_judge
from ifnormal.benchmarks.options import Configs, with_options
from ifnormal.benchmarks.planted import verdict
from ifnormal.benchmarks.planted.analytic import AnalyticDetector, analytic_signs
from ifnormal.benchmarks.planted.background import digits_on_grounds
from ifnormal.benchmarks.planted.boundary import least_edits
from ifnormal.benchmarks.planted.coloured_digits import coloured_digits
from ifnormal.benchmarks.planted.kinds import KINDS, PlantedKind
from ifnormal.benchmarks.planted.material import Planted
from ifnormal.benchmarks.planted.watermark import unmarked_signs, watermarked_signs
from ifnormal.config import DataConfig, DetectorConfig, FitConfig
from ifnormal.data.words import anomaly_names
from ifnormal.detectors.detector import Detector, in_batches, log_odds_of
from ifnormal.explainer import Explainer
from ifnormal.explanation import Explanation
from ifnormal.metrics.judge import AttributeJudge
from ifnormal.metrics.normality_auroc import auroc
from ifnormal.pixels import to_float
from ifnormal.report import write_report
from ifnormal.run_folder import update_config
from ifnormal.storage import write_json
from ifnormal.thrift import thrift

_KEPT = 24
# Threshold: one normal image in a hundred may be flagged. Nothing but the reason tells the images
# apart, so that a strict detector costs nothing, and a perfect edit may pass.
_DETECTOR = DetectorConfig(steps=400, false_alarm_rate=0.01)
_JUDGE_STEPS = 600
# Of 255; a change so small is nothing that anybody sees, but over all pixels it adds up.
FAINT = 5


def planted_run(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    """Do a run in its folder; returns its figures, JSON-compatible.

    The folder then holds `explainer/`, `explanation/` of the first anomalies, `preview.png` and
    `report.html`; for a formula also `least/` with the edits at the threshold and their report.
    """
    begun = time.perf_counter()
    kind = KINDS[run.setup.removeprefix("planted/")]
    options = configs_of(run, kind, workplace)
    planted, detector = _material(kind, run.seed, workplace, options)
    setup = planted.setup
    described = {"setup": {"normal": setup.normal, **setup.facts}}
    update_config(folder, {**asdict(options), "seed": run.seed, "fit_seed": run.seed, **described})
    judged = trained_judge(setup, options.judge_steps, workplace)
    before_fit = time.process_time()
    explainer = fitted(folder / "explainer", options.fit, run.seed, setup, detector)
    fit_seconds = time.process_time() - before_fit
    explanation = explainer.explain(setup.test_anomalies, anomaly_names(setup), traversals=_KEPT)
    judge = None if judged is None else judged[0]
    figures = _figures(kind, planted, detector, explainer, explanation, judge)
    least = None
    if isinstance(detector, AnalyticDetector):
        least = _with_edits(
            explanation,
            detector,
            least_edits(explainer, explanation.anomalies, explanation.counterfactuals, FAINT),
        )
        figures |= _ratios(detector, explainer, explanation, least)
    figures |= {
        "fit_cpu_s": round(fit_seconds, 1),
        "wall_clock_s": round(time.perf_counter() - begun, 1),
    }
    _write_pictures(folder, planted, explanation, least, figures)
    return figures


def configs_of(run: BenchRun, kind: PlantedKind, workplace: Workplace) -> Configs:
    """Every option of a run: the kind's, its budget's steps, then the run's own."""
    data = DataConfig(setup=run.setup, data_root=workplace.data_root)
    start = Configs(data, _DETECTOR, FitConfig(), _JUDGE_STEPS)
    chosen = {**kind.options, "fit.steps": kind.steps[run.budget]}
    if kind.learned:
        chosen["detector.objective"] = run.detector
    chosen |= run.options
    return with_options(start, chosen)


def _material(
    kind: PlantedKind, seed: int, workplace: Workplace, options: Configs
) -> tuple[Planted, Detector]:
    root = workplace.data_root
    if not kind.learned:
        return analytic_signs(cast(Literal["patch", "red"], kind.name), root, seed)
    if kind.name == "watermark":
        planted = watermarked_signs(root, seed)
    elif kind.name == "watermark-removed":
        planted = unmarked_signs(root, seed)
    elif kind.name == "background":
        planted = digits_on_grounds(root, seed)
    else:
        reason = cast(Literal["colour", "shape", "either"], kind.name)
        planted = coloured_digits(reason, root, seed)
    return planted, trained_detector(planted.setup, options.detector, seed, workplace)[0]


def _figures(
    kind: PlantedKind,
    planted: Planted,
    detector: Detector,
    explainer: Explainer,
    explanation: Explanation,
    judge: AttributeJudge | None,
) -> dict[str, Any]:
    setup, edits = planted.setup, explanation.counterfactuals
    normal, anomalous = (
        in_batches(detector, images) for images in (setup.test_normal, setup.test_anomalies)
    )
    thrifty = thrift(explainer.generator, detector, setup.test_anomalies, edits).images
    exposed, after_thrift = (
        _percents(_exposed(kind, planted, detector, images, judge)) for images in (edits, thrifty)
    )
    figures: dict[str, Any] = {
        "anomalies": len(explanation),
        "detector_auroc": auroc(normal, anomalous),
        "validity": _percent(explanation.valid),
        "exposed": exposed,
        "exposed_thrift": after_thrift,
        "reason_holds": None,
        "edit_inside": None,
        "heat_inside": None,
        "region_share": None,
    }
    if planted.ideal is not None:
        figures["reason_holds"] = _percent(
            in_batches(detector, planted.ideal) <= detector.threshold
        )
    if (region := planted.region) is not None:
        change = (edits.float() - explanation.anomalies[:, None]).abs().sum((1, 2))
        figures["edit_inside"] = _mean_share(change, region)
        figures["region_share"] = _percent(region)
        if explanation.heatmaps is not None:
            figures["heat_inside"] = _mean_share(explanation.heatmaps, region)
    return figures


def _exposed(
    kind: PlantedKind,
    planted: Planted,
    detector: Detector,
    edits: Tensor,
    judge: AttributeJudge | None,
) -> Tensor | None:
    """(N, K) bool: accepted, and the planted reason was changed and nothing else.

    None of red, which is in many places a little: there the size of the edit has to tell.
    """
    if kind.name == "red":
        return None
    setup, before = planted.setup, planted.setup.test_anomalies
    found = log_odds_of(detector, edits.flatten(0, 1)).sigmoid() <= detector.threshold
    found = found.view(edits.shape[:2])
    if "judge" in kind.measure:
        assert judge is not None
        seen, true = judge.predict(edits), setup.attributes["test_anomalies"]
        found &= verdict.changed_only_one(seen, true, setup.normal_attributes)
    if "place" in kind.measure or kind.name == "patch":
        assert planted.region is not None
        found &= verdict.untouched(before, edits, planted.region)
    if kind.measure == "place":
        assert planted.region is not None
        assert planted.ideal is not None
        found &= verdict.undone(before, edits, planted.region, planted.ideal)
    return found


def _ratios(
    detector: AnalyticDetector, explainer: Explainer, explanation: Explanation, least: Explanation
) -> dict[str, Any]:
    """L1 sizes of edits by that of the smallest edit that reaches the threshold; accepted ones.

    Also by that of the smallest edit which reaches the value that the counterfactual itself has.
    """
    before, edits = explanation.anomalies, explanation.counterfactuals
    smallest = detector.optimum(to_float(before), detector.level)
    thrifty = thrift(explainer.generator, detector, before, edits).images
    plain = least_edits(explainer, before, edits)

    def ratio(after: Tensor) -> Tensor:
        accepted = in_batches(detector, after.flatten(0, 1)) <= detector.threshold
        return (verdict.size(before, after) / smallest[:, None])[accepted.view(after.shape[:2])]

    reached = detector.value(to_float(edits.flatten(0, 1))).view(edits.shape[:2])
    own = torch.stack([detector.optimum(to_float(before), value) for value in reached.T], 1)
    at_threshold = ratio(least.counterfactuals)
    return {
        "ratio": _number(ratio(edits).mean()),
        "ratio_thrift": _number(ratio(thrifty).mean()),
        "ratio_own_value": _number((verdict.size(before, edits) / own.clamp_min(1e-6)).median()),
        "ratio_least": _number(ratio(plain).mean()),
        "ratio_least_bare": _number(at_threshold.mean()),
        "ratio_least_bare_p90": _number(at_threshold.quantile(0.9)) if len(at_threshold) else None,
    }


def _with_edits(explanation: Explanation, detector: Detector, edits: Tensor) -> Explanation:
    """The same anomalies with other counterfactuals, and without traversals."""
    scores = in_batches(detector, edits.flatten(0, 1)).view(edits.shape[:2])
    concepts = edits.shape[1]
    none = torch.zeros(0, concepts, 0)
    return replace(
        explanation,
        counterfactuals=edits,
        scores_after=scores,
        own_scores_after=scores,
        traversal_targets=torch.zeros(0),
        traversals=torch.zeros(0, concepts, 0, *edits.shape[2:], dtype=torch.uint8),
        traversal_scores=none,
        own_traversal_scores=none,
    )


def _write_pictures(
    folder: Path,
    planted: Planted,
    explanation: Explanation,
    least: Explanation | None,
    figures: dict[str, Any],
) -> None:
    columns = {"anomaly": explanation.anomalies, **_beside(explanation, "edit")}
    if least is not None:
        columns |= _beside(least, "least")
    if planted.region is not None:
        columns["planted"] = planted.region
    elif planted.ideal is not None:
        columns["ideal"] = planted.ideal
    if explanation.heatmaps is not None:
        columns["heat"] = explanation.heatmaps.float()
    write_contact_sheet(folder / "preview.png", columns)
    for part, target in ((explanation, folder), (least, folder / "least")):
        if part is not None:
            part.select(range(min(_KEPT, len(part)))).save(target / "explanation")
            write_json(target / "metrics.json", figures)
            write_report(target)


def _beside(explanation: Explanation, word: str) -> dict[str, Tensor]:
    """Counterfactuals and, after each, where it differs from the anomaly."""
    columns = {}
    for k in range(explanation.concepts):
        name = f"{word} {chr(ord('A') + k)}" if explanation.concepts > 1 else word
        edited = explanation.counterfactuals[:, k]
        columns[name] = edited
        columns[f"{name} diff"] = (edited.int() - explanation.anomalies.int()).abs().byte()
    return columns


def _mean_share(weights: Tensor, region: Tensor) -> float | None:
    shares = verdict.share_inside(weights, region)
    known = shares[~shares.isnan()]
    return 100 * known.mean().item() if len(known) else None


def _percent(which: Tensor) -> float:
    return 100 * which.double().mean().item()


def _percents(which: Tensor | None) -> list[float] | None:
    """One figure a concept."""
    return None if which is None else (100 * which.double().mean(0)).tolist()


def _number(value: Tensor) -> float | None:
    return value.item() if bool(torch.isfinite(value)) else None
