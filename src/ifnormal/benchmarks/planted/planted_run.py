"""One run of a planted reason: detector, explainer, figures, pictures, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.benchmarks.experiment import BenchRun, Workplace
from ifnormal.benchmarks.materials import KEPT, Materials
from ifnormal.benchmarks.pictures import scaled_alone, write_columns
from ifnormal.benchmarks.planted.analytic import AnalyticDetector, analytic_signs
from ifnormal.benchmarks.planted.background import digits_on_grounds
from ifnormal.benchmarks.planted.boundary import least_edits
from ifnormal.benchmarks.planted.coloured_digits import coloured_digits
from ifnormal.benchmarks.planted.figures import edit_figures, heat_figures, size_ratios
from ifnormal.benchmarks.planted.kinds import KINDS
from ifnormal.benchmarks.planted.material import Planted
from ifnormal.benchmarks.planted.watermark import unmarked_signs, watermarked_signs
from ifnormal.benchmarks.usable_heatmaps import usable_heatmaps
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.explanation import Explanation
from ifnormal.jobs.run_folder import update_config
from ifnormal.report import write_report
from ifnormal.report.wording import concept_name

# Of 255: such a change is invisible, but it adds up over all pixels.
FAINT = 5
# Kind -> its images, from data root and seed.
MATERIAL: Mapping[str, Callable[[Path | None, int], Planted]] = {
    "colour": partial(coloured_digits, "colour"),
    "shape": partial(coloured_digits, "shape"),
    "either": partial(coloured_digits, "either"),
    "watermark": watermarked_signs,
    "watermark-removed": unmarked_signs,
    "background": digits_on_grounds,
    "patch": partial(analytic_signs, "patch"),
    "red": partial(analytic_signs, "red"),
}


def planted_run(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    """Do a run in its folder; returns its figures, JSON-compatible.

    The folder then holds `explainer/`, `explanation/` of the first anomalies, `preview.png` and
    `report.html`; for a formula also `least/`, a report of the edits at the threshold.
    """
    begun, kind = time.perf_counter(), KINDS[run.setup.removeprefix("planted/")]
    plant = partial(MATERIAL[kind.name], workplace.data_root)
    made = Materials(run, folder, workplace, lambda seed: plant(seed).setup)
    planted = plant(run.seed)
    setup = made.setup = planted.setup
    facts = {"setup": {"normal": setup.normal, **setup.facts}, "fit_seed": run.seed}
    update_config(folder, {**asdict(made.options), "seed": run.seed, **facts})
    if planted.detector is not None:
        made.detector = planted.detector
    detector, judge, _ = made.detector, made.judge, made.backbone
    before_fit = time.process_time()
    explainer = made.explainer
    fit_seconds = time.process_time() - before_fit
    explanation = made.explain()
    figures = edit_figures(kind, planted, detector, explainer, explanation, judge)
    usable = usable_heatmaps(detector, setup.train_normal, run.seed)
    heat = {name: make(explanation.anomalies) for name, make in usable.make.items()}
    figures |= heat_figures(heat, planted.region) | {"missing_heatmaps": usable.missing}
    least = None
    if isinstance(detector, AnalyticDetector):
        before, after = explanation.anomalies, explanation.counterfactuals
        least = _with_edits(explanation, explainer, least_edits(explainer, before, after, FAINT))
        figures |= size_ratios(detector, explainer, explanation, least.counterfactuals)
    figures |= {
        "fit_cpu_s": round(fit_seconds, 1),
        "wall_clock_s": round(time.perf_counter() - begun, 1),
    }
    _write_pictures(folder, planted, explanation, least, heat)
    for part, target in ((explanation, folder), (least, folder / "least")):
        if part is not None:
            part.select(range(min(KEPT, len(part)))).save(target / "explanation")
            write_report(target, metrics=figures)
    return figures


def _with_edits(explanation: Explanation, explainer: Explainer, edits: Tensor) -> Explanation:
    """The same anomalies with other counterfactuals, and without traversals."""
    odds, probabilities = explainer.assess(explanation.anomalies, edits)
    own = explainer.detector.own_units(odds).flatten()
    scored = own, odds.sigmoid().flatten(), probabilities.flatten(0, 1)
    along = ("traversals", "own_traversal_scores", "calibrated_traversal_scores")
    alone = replace(explanation, **{name: getattr(explanation, name)[:0] for name in along})
    everywhere = torch.ones(edits.shape[:2], dtype=torch.bool)
    return alone.with_counterfactuals(everywhere, edits.flatten(0, 1), *scored)


def _write_pictures(
    folder: Path,
    planted: Planted,
    explanation: Explanation,
    least: Explanation | None,
    heat: Mapping[str, Tensor],
) -> None:
    """Write `preview.png`: anomalies, edits, their changes, the planted region and all heat."""
    columns = {"anomaly": explanation.anomalies, **_beside(explanation, "edit")}
    if least is not None:
        columns |= _beside(least, "least")
    if planted.region is not None:
        columns["planted"] = planted.region
    elif planted.ideal is not None:
        columns["ideal"] = planted.ideal
    columns |= {name: scaled_alone(maps) for name, maps in heat.items()}
    write_columns(folder / "preview.png", columns)


def _beside(explanation: Explanation, word: str) -> dict[str, Tensor]:
    """Counterfactuals and, after each, its difference from the anomaly."""
    columns = {}
    for k in range(explanation.concepts):
        name = f"{word} {concept_name(k)}" if explanation.concepts > 1 else word
        edited = explanation.counterfactuals[:, k]
        columns[name] = edited
        columns[f"{name} diff"] = (edited.int() - explanation.anomalies.int()).abs().byte()
    return columns
