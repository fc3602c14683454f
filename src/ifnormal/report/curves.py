"""Training curves as small multiples: numbers in, points of an SVG out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from ifnormal.common.json_reading import is_number
from ifnormal.report.wording import number, shortened

POINTS = 120
WIDTH, HEIGHT = 240, 84
MARGIN = 4


@dataclass(frozen=True)
class Curve:
    """One term over the steps of one training.

    Attributes:
        term: its name in the losses file.
        line: "x,y x,y …" in a box of `WIDTH` x `HEIGHT`: the means of up to `POINTS` bins.
        band: the outline of the bins' least and greatest values, which means would hide.
        low, high: what the box's lower and upper edge stand for.
        first, last: the means of the first and last bin.
        steps: the last step.
    """

    term: str
    line: str
    band: str
    low: str
    high: str
    first: str
    last: str
    steps: int


def make_curves(rows: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """One curve for each number in the rows, in the order in which they first appear."""
    terms = dict.fromkeys(term for row in rows for term in row if term != "step")
    curves = []
    for term in terms:
        points = [
            (float(row.get("step", index)), float(row[term]))
            for index, row in enumerate(rows)
            if is_number(row.get("step", index)) and is_number(row.get(term))
        ]
        if len(points) > 1:
            curves.append(_curve(term, points))
    return curves


def _curve(term: str, points: Sequence[tuple[float, float]]) -> Curve:
    width = ceil(len(points) / POINTS)
    bins = [points[start : start + width] for start in range(0, len(points), width)]
    steps = [sum(step for step, _ in group) / len(group) for group in bins]
    means = [sum(value for _, value in group) / len(group) for group in bins]
    lows = [min(value for _, value in group) for group in bins]
    highs = [max(value for _, value in group) for group in bins]
    low, high = min(lows), max(highs)

    def at(step: float, value: float) -> str:
        across = (step - steps[0]) / ((steps[-1] - steps[0]) or 1)
        up = (value - low) / (high - low) if high > low else 0.5
        x = MARGIN + across * (WIDTH - 2 * MARGIN)
        y = HEIGHT - MARGIN - up * (HEIGHT - 2 * MARGIN)
        return f"{x:.1f},{y:.1f}"

    upper = [at(step, value) for step, value in zip(steps, highs, strict=True)]
    lower = [at(step, value) for step, value in zip(steps, lows, strict=True)]
    return Curve(
        term=shortened(term.replace("_", " ")),
        line=" ".join(at(step, value) for step, value in zip(steps, means, strict=True)),
        band=" ".join(upper + lower[::-1]) if width > 1 else "",
        low=number(low),
        high=number(high),
        first=number(means[0]),
        last=number(means[-1]),
        steps=int(points[-1][0]),
    )
