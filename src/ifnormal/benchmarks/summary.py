"""From the figures of runs to the rows of a table: means and deviations, and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from ifnormal.benchmarks.experiment import BenchRun, Cell, Finished
from ifnormal.evaluation import METRICS

_SEVERAL = "several extractors"


def grouped(
    runs: Iterable[BenchRun], label: Callable[[BenchRun], str]
) -> dict[str, list[BenchRun]]:
    """Label -> its runs, in their order."""
    groups: dict[str, list[BenchRun]] = {}
    for run in runs:
        groups.setdefault(label(run), []).append(run)
    return groups


def with_generator(
    runs: Iterable[BenchRun], label: Callable[[BenchRun], str]
) -> Callable[[BenchRun], str]:
    """The label, followed by the generator of the run where the runs have several."""
    if len({run.generator for run in runs}) < 2:
        return label
    return lambda run: f"{label(run)}, {run.generator}"


def rows(
    planned: Sequence[BenchRun],
    finished: Sequence[Finished],
    keys: Iterable[str],
    label: Callable[[BenchRun], str],
    paper: Callable[[str, BenchRun], float | None] = lambda key, run: None,
    absent: str | None = None,
) -> dict[str, list[Cell]]:
    """Rows of a table: one for each label, with a cell for each figure.

    Args:
        planned: the runs of the table, finished or not.
        finished: finished runs, those of other tables among them.
        keys: of the figures in `metrics.json`.
        label: the heading of the row that a run belongs to.
        paper: (key, first run of a row) -> the paper's figure.
        absent: see `summary`.
    """
    return {
        heading: [summary(runs, finished, key, paper(key, runs[0]), absent) for key in keys]
        for heading, runs in grouped(planned, label).items()
    }


def summary(
    planned: Iterable[BenchRun],
    finished: Sequence[Finished],
    key: str,
    paper: float | None = None,
    absent: str | None = None,
) -> Cell:
    """One figure over some of the planned runs.

    A figure with one value per concept counts as their mean. A run without the figure does not
    count as finished. Figures of features are labelled with their extractor, and those of several
    extractors have no mean.

    Args:
        planned: the runs of the cell, finished or not.
        finished: finished runs, those of other cells among them.
        key: of the figure in `metrics.json`.
        paper: the figure in the paper.
        absent: text of the cell if runs are finished and none has the figure.
    """
    by_key = {one.run.key: one.metrics for one in finished}
    keys = [run.key for run in planned]
    made = [by_key[one] for one in keys if one in by_key]
    values = [value(metrics, key) for metrics in made]
    numbers = [number for number in values if number is not None]
    extractors = _extractors(made, key)
    if len(extractors) > 1:
        return Cell(None, runs=len(numbers), expected=len(keys), paper=paper, text=_SEVERAL)
    return Cell(
        mean=mean(numbers) if numbers else None,
        deviation=stdev(numbers) if len(numbers) > 1 else None,
        runs=len(numbers),
        expected=len(keys),
        paper=paper,
        text=absent if made and not numbers else None,
        extractor=extractors[0] if numbers and extractors else None,
    )


def _extractors(made: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    """Names of the features that a figure of some runs was measured in; none of other figures."""
    if key not in METRICS or not METRICS[key].in_features:
        return []
    known = (one.get("fid_extractor") for one in made if value(one, key) is not None)
    return sorted({name for name in known if isinstance(name, str)})


def value(metrics: Mapping[str, Any], key: str) -> float | None:
    """A figure as one number, the mean over concepts or attributes; None if it is unknown."""
    found = metrics.get(key)
    if isinstance(found, Mapping):
        found = list(found.values())
    if isinstance(found, list):
        known = [number for number in found if number is not None]
        return mean(known) if known else None
    return None if found is None else float(found)
