"""Methods side by side: a row an anomaly, a group of columns what a method makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ifnormal.benchmarks.sheet import ACCEPTED, FLAGGED, Sheet, square_picture
from ifnormal.explanation.explanation import Explanation

_SIDE, _GAP, _MARGIN, _BETWEEN, _LINE = 64, 2, 10, 12, 12
# Stripes under an edit: what the detector says, and the width of a heading's letter.
_STRIPE, _LETTER = 3, 6


def write_methods_sheet(path: Path, methods: Mapping[str, Explanation], rows: int = 10) -> Path:
    """Write a PNG: the first anomalies, and what each method makes of them.

    Under each picture is a stripe, green where the detector accepts it and red where it flags it.

    Args:
        path: of the PNG.
        methods: heading -> explanation, all of them of the same anomalies in the same order.
        rows: the most anomalies that are shown.
    """
    first = next(iter(methods.values()))
    rows = min(rows, *(len(one) for one in methods.values()))
    groups = {"anomaly": 1, **{heading: one.concepts for heading, one in methods.items()}}
    wrapped = {heading: _wrapped(heading, _width(count)) for heading, count in groups.items()}
    top = _MARGIN + max(map(len, wrapped.values())) * _LINE + 4
    height = _SIDE + _STRIPE + 2 * _GAP
    width = sum(_width(count) + _BETWEEN for count in groups.values()) - _BETWEEN
    sheet = Sheet(width + 2 * _MARGIN, top + rows * height + _MARGIN)
    left = _MARGIN
    for heading, count in groups.items():
        for n, words in enumerate(wrapped[heading]):
            sheet.say(words, left, _MARGIN + n * _LINE)
        for row in range(rows):
            for k in range(count):
                x, y = left + k * (_SIDE + _GAP), top + row * height
                if heading == "anomaly":
                    pixels, score = first.anomalies[row], first.scores_before[row]
                else:
                    made = methods[heading]
                    pixels, score = made.counterfactuals[row, k], made.scores_after[row, k]
                sheet.put(square_picture(pixels, _SIDE), x, y)
                colour = FLAGGED if score > first.threshold else ACCEPTED
                sheet.put(Image.new("RGB", (_SIDE, _STRIPE), colour), x, y + _SIDE)
        left += _width(count) + _BETWEEN
    return sheet.write(path)


def _width(pictures: int) -> int:
    return pictures * (_SIDE + _GAP) - _GAP


def _wrapped(heading: str, width: int) -> list[str]:
    """The heading in lines that are not wider than its pictures, as far as its words allow."""
    lines = [""]
    for word in heading.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) * _LETTER <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
