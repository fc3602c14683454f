"""Planted reasons: do counterfactuals show why a detector flags an image, where that is known?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from ifnormal.benchmarks.experiment import (
    BenchRun,
    Experiment,
    Finished,
    Selection,
    Table,
    Workplace,
)
from ifnormal.benchmarks.planted.kinds import KINDS, PlantedKind, missing
from ifnormal.benchmarks.summary import rows, with_generator
from ifnormal.benchmarks.usable_heatmaps import TITLES

NAME = "planted"
_FORMULA = "formula"  # in place of a detector's objective
_EXPOSED = {
    "exposed": "reason changed and nothing else, %",
    "exposed_thrift": "with thrift, %",
    "validity": "valid, %",
    "edit_inside": "edit inside the planted place, %",
    "region_share": "its share of the image, %",
    "reason_holds": "detector accepts the ideal edit, %",
    "detector_auroc": "detector AuROC, %",
    "fit_cpu_s": "fit, core-seconds",
}
_HEAT = {
    "region_share": "the place's share of the image, %",
    **{f"heat_{name}": title for name, title in TITLES.items()},
}
_RATIOS = {
    "ratio": "generator, α = 0",
    "ratio_least_bare": "largest accepted α, faint changes left out",
    "ratio_least_bare_p90": "the same, 90th percentile",
    "ratio_least": "largest accepted α",
    "ratio_thrift": "α = 0, with thrift",
    "ratio_own_value": "α = 0, by the optimum for the value it reached (median)",
    "validity": "valid, %",
}
_NOTES = (
    "Exposed: the detector accepts it, and: (colour, shape, either) an independent judge of digit "
    "and colour says that exactly the planted attribute became normal and the other one stayed; of "
    "either, one of the two. (watermark) Of the distance to the image with the watermark added or "
    "removed at most a quarter is left in its place. (background) The judge says grass and the "
    "same digit. (watermark, background, patch) Outside of the planted place no 3x3 pixels "
    "changed by more than 10 % of the range on average. Red is in many places a little; "
    "there the ratio of sizes has to tell.",
    "First 200 test anomalies.",
    "Background: the ideal edit shows another shade of grass than the counterfactual, which may "
    "choose any.",
)
_HEAT_NOTES = (
    "How many times as much of the heat lies in the planted place as chance would have there, mean "
    "over the anomalies. Chance, 1.0, is heat that knows nothing: it has the place's share of the "
    "image, so that 100 by that share is all of it there. The last two ask no detector. Not "
    "measured where a method does not apply or wants captum, which is not there. Reasons without a "
    "place of their own are left out.",
    "Where a watermark is missing its place looks like any other: only what asks the detector, or "
    "has seen normal images, can know of it.",
)
_RATIO_NOTES = (
    "Sum of absolute changes of all pixels by that of the smallest edit that the detector accepts, "
    "in closed form (see analytic.py), mean over accepted counterfactuals; 1 is ideal.",
    "The first ratio is what an explanation shows; the second, the kindest, is not. α = 0 asks "
    "for the score of a typical normal image, which lies beyond the threshold: the last ratio "
    "compares it with the smallest edit that gets as far. The largest accepted α is found by "
    "halving, one image at a time, with the same generator and the detector's answers; faint is a "
    "change by at most 5 of 255 steps, left out before the detector is asked.",
)


def _plan(selection: Selection) -> list[BenchRun]:
    return [
        BenchRun(
            NAME,
            kind.setup,
            detector,
            seed,
            budget=selection.budget,
            options=kind.options(selection.budget),
            generator=generator,
        )
        for seed in selection.seeds
        for generator in selection.each_generator
        for kind in KINDS.values()
        if selection.takes(kind.setup)
        for detector in ((_FORMULA,) if kind.formula else selection.detectors or ("bce",))
    ]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.planted.planted_run import planted_run

    return planted_run(run, folder, workplace)


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    several = len({run.detector for run in plan} - {_FORMULA}) > 1

    def table(
        title: str,
        columns: Mapping[str, str],
        runs: Sequence[BenchRun],
        notes: Sequence[str],
        absent: str = "does not apply",
    ) -> Table:
        label = with_generator(plan, lambda run: _title(run, several))
        made = rows(runs, finished, columns, label, absent=absent)
        return Table(title, list(columns.values()), made, notes)

    title = "Planted reasons: what the counterfactuals change"
    tables = [table(title, _EXPOSED, plan, [*_NOTES, _tuned()])]
    if placed := [run for run in plan if _kind(run).has_place]:
        title = "Heat in the planted place, times chance"
        tables.append(table(title, _HEAT, placed, _HEAT_NOTES, "not measured"))
    if formulas := [run for run in plan if _kind(run).formula]:
        title = "Formulas: size of the edit by the smallest possible (L1)"
        tables.append(table(title, _RATIOS, formulas, [*_RATIO_NOTES, _tuned()]))
    return tables


def _tuned() -> str:
    """What was chosen for a reason in place of a default, so that nobody takes it for one."""
    from ifnormal.config import FitConfig

    def words(options: Mapping[str, Any]) -> str:
        usual = FitConfig()
        return ", ".join(
            f"{name} {value:g} instead of {attrgetter(name.removeprefix('fit.'))(usual):g}"
            for name, value in options.items()
        )

    groups: dict[str, list[str]] = {}
    for kind in KINDS.values():
        groups.setdefault(words(kind.tuned) or "none", []).append(kind.name)
    told = "; ".join(f"{', '.join(names)}: {chosen}" for chosen, names in groups.items())
    return f"Options tuned to the reason (K is fit.concepts): {told}."


def _kind(run: BenchRun) -> PlantedKind:
    return KINDS[run.setup.removeprefix("planted/")]


def _title(run: BenchRun, several: bool) -> str:
    kind = _kind(run)
    return f"{kind.title}, {run.detector.upper()}" if several and not kind.formula else kind.title


EXPERIMENT = Experiment(
    name=NAME,
    title="Detectors whose reason is known: do counterfactuals show it, and nothing else?",
    source="ifnormal",
    plan=_plan,
    perform=_perform,
    tables=_tables,
    headline=("exposed", "ratio", "ratio_least_bare"),
    missing=missing,
)
