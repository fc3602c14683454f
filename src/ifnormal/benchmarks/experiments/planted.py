"""Planted reasons: do counterfactuals show why a detector flags an image, where that is known?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ifnormal.benchmarks.bench_run import BenchRun
from ifnormal.benchmarks.experiment import Cell, Experiment, Finished, Selection, Table, Workplace
from ifnormal.benchmarks.planted.kinds import KINDS
from ifnormal.benchmarks.summary import summary, value

NAME = "planted"
_EXPOSED = {
    "exposed": "reason changed and nothing else, %",
    "exposed_thrift": "with thrift, %",
    "validity": "valid, %",
    "edit_inside": "edit inside the planted place, %",
    "heat_inside": "heat inside it, %",
    "region_share": "its share of the image, %",
    "reason_holds": "detector accepts the ideal edit, %",
    "detector_auroc": "detector AuROC, %",
    "fit_cpu_s": "fit, core-seconds",
}
_RATIOS = {
    "ratio": "generator, α = 0",
    "ratio_thrift": "with thrift",
    "ratio_own_value": "without, by the optimum for the value it reached (median)",
    "ratio_least": "largest accepted α",
    "ratio_least_bare": "largest accepted α, faint changes left out",
    "ratio_least_bare_p90": "the same, 90th percentile",
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
    "First 200 test anomalies. K = 1 but for either, where K = 2. Heat: input gradient of the "
    "detector, share of its sum; heat that knew nothing would have the place's share of the image.",
    "Background: the ideal edit shows another shade of grass than the counterfactual, which may "
    "choose any.",
)
_RATIO_NOTES = (
    "Sum of absolute changes of all pixels by that of the smallest edit that the detector accepts, "
    "in closed form (see analytic.py), mean over accepted counterfactuals; 1 is ideal.",
    "α = 0 asks for the score of a typical normal image, which lies beyond the threshold: the "
    "third column compares it with the smallest edit that gets as far. The largest accepted α is "
    "found by halving, one image at a time, with the same generator; faint is a change by at most "
    "5 of 255 steps, left out before the detector is asked.",
)


def _plan(selection: Selection) -> list[BenchRun]:
    return [
        BenchRun(NAME, kind.setup, detector, seed, budget=selection.budget)
        for seed in selection.seeds
        for kind in KINDS.values()
        if fnmatchcase(kind.setup, selection.only or "*")
        for detector in (selection.detectors or ("bce",) if kind.learned else ("formula",))
    ]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.planted.planted_run import planted_run

    return planted_run(run, folder, workplace)


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    several = len({run.detector for run in plan} - {"formula"}) > 1
    groups: dict[str, list[BenchRun]] = {}
    for run in plan:
        groups.setdefault(_title(run, several), []).append(run)

    def rows(columns: Mapping[str, str], titles: Sequence[str]) -> dict[str, list[Cell]]:
        return {title: [_cell(groups[title], finished, key) for key in columns] for title in titles}

    formulas = [title for title, runs in groups.items() if runs[0].detector == "formula"]
    made = [
        Table(
            "Planted reasons: what the counterfactuals change",
            list(_EXPOSED.values()),
            rows(_EXPOSED, list(groups)),
            _NOTES,
        )
    ]
    if formulas:
        title = "Formulas: size of the edit by the smallest possible (L1)"
        made.append(Table(title, list(_RATIOS.values()), rows(_RATIOS, formulas), _RATIO_NOTES))
    return made


def _cell(runs: Sequence[BenchRun], finished: Sequence[Finished], key: str) -> Cell:
    """A figure, or a word where a reason has none of this kind."""
    keys = {run.key for run in runs}
    done = [one for one in finished if one.run.key in keys]
    if done and all(value(one.metrics, key) is None for one in done):
        return Cell(None, text="does not apply")
    return summary(runs, finished, key)


def _title(run: BenchRun, several: bool) -> str:
    title = KINDS[run.setup.removeprefix("planted/")].title
    return f"{title}, {run.detector.upper()}" if several and run.detector != "formula" else title


EXPERIMENT = Experiment(
    name=NAME,
    title="Detectors whose reason is known: do counterfactuals show it, and nothing else?",
    source="ifnormal",
    plan=_plan,
    perform=_perform,
    tables=_tables,
    headline=("exposed", "ratio", "ratio_least_bare"),
)
