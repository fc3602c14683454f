"""The table of figures: each metric with its facts, ours beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ifnormal.common.json_reading import is_number
from ifnormal.report.wording import NOT_MEASURED, concept_name, figure

if TYPE_CHECKING:
    from ifnormal.evaluation.metric import Metric

PER_CONCEPT = "_per_concept"
ARROWS = {"higher": "↑", "lower": "↓", "nearer": "→"}


@dataclass(frozen=True)
class Row:
    """One line of the table, as written.

    Attributes:
        title: the metric's name, with the extractor where that is part of it.
        meaning: one sentence.
        source: where the metric comes from.
        value: our figure; the mean over concepts if it has one for each.
        parts: (name, figure) of each concept.
        paper: the paper's figure.
        compared: there is a paper's figure.
        caution: why the two must not be compared; mostly empty.
        arrow, aim: which way is better, as a sign and in words.
    """

    title: str
    meaning: str
    source: str
    value: str
    parts: tuple[tuple[str, str], ...]
    paper: str
    compared: bool
    caution: str
    arrow: str
    aim: str


def numbers(value: Any) -> list[float]:
    """The finite numbers of a value of `metrics.json`: itself, one a concept or name, or none."""
    values = list(value.values()) if isinstance(value, Mapping) else value
    values = values if isinstance(values, list) else [values]
    good = [float(item) for item in values if is_number(item)]
    return good if len(good) == len(values) else []


def mean(value: Any) -> float | None:
    """The mean over concepts of a value of `metrics.json`; None where there is no figure."""
    values = numbers(value)
    return sum(values) / len(values) if values else None


def make_rows(
    metrics: Mapping[str, Any], registry: Mapping[str, Metric], prompts: Sequence[str] = ()
) -> list[Row]:
    """A row for each metric of the registry that the run measured, in the registry's order.

    Args:
        metrics: the figures.
        registry: what is known of them.
        prompts: the names of the concepts, where they have some.
    """
    return [
        _row(metric, metrics[key], metrics, prompts)
        for key, metric in registry.items()
        if metrics.get(key) is not None and not isinstance(metrics[key], str)
    ]


def _row(metric: Metric, value: Any, metrics: Mapping[str, Any], prompts: Sequence[str]) -> Row:
    overall, title = mean(value), metric.title[:1].upper() + metric.title[1:]
    # Figures of different feature extractors must not be compared, so the title carries ours.
    extractor = metrics.get("fid_extractor") if metric.in_features else None
    if isinstance(extractor, str):
        title = f"{title} [{extractor}]"
    # A figure whose mean is not the mean of its list keeps the list under a key of its own.
    each = metrics.get(metric.key + PER_CONCEPT, value)
    parts = []
    if isinstance(each, list) and len(each) > 1:
        parts = [
            (concept_name(k, prompts), figure(part, metric.unit))
            for k, part in enumerate(numbers(each))
        ]
    elif isinstance(each, Mapping) and numbers(each):
        parts = [(str(name), figure(part, metric.unit)) for name, part in each.items()]
    return Row(
        title=title,
        meaning=metric.meaning,
        source=metric.source,
        value=NOT_MEASURED if overall is None else figure(overall, metric.unit),
        parts=tuple(parts),
        paper=NOT_MEASURED if metric.paper is None else figure(metric.paper, metric.unit),
        compared=metric.paper is not None,
        caution="other features" if extractor and metric.paper is not None else "",
        arrow=ARROWS[metric.direction],
        aim=_aim(metric),
    )


def _aim(metric: Metric) -> str:
    if metric.direction != "nearer":
        return metric.direction
    return "in between" if metric.ideal is None else f"to {metric.ideal:g} {metric.unit}".rstrip()
