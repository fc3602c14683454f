"""Line charts as SVG text, without a plotting library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 380, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 30, 34
_LEGEND = 20
# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "", "6 3")
_INK, _SOFT, _PAPER = "#1d1d22", "#66666e", "#fbfbf9"


@dataclass(frozen=True)
class Chart:
    """One panel.

    Attributes:
        title: heading of the panel.
        across: label of the horizontal axis.
        lines: name -> points (x, y), in the order of the legend.
        level: (value, label) of a thin horizontal line; None draws none.
        low, high: ends of the vertical axis; None takes those of the points.
    """

    title: str
    across: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    level: tuple[float, str] | None = None
    low: float | None = None
    high: float | None = None


def draw(charts: Sequence[Chart], title: str) -> str:
    """Panels side by side over one legend, as a self-contained SVG document.

    Raises:
        ValueError: a chart has no points.
    """
    names = list(dict.fromkeys(name for chart in charts for name in chart.lines))
    width = _WIDTH * len(charts)
    height = _HEIGHT + _LEGEND * len(names) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="system-ui, sans-serif" font-size="11" '
        f'role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="{_PAPER}"/>',
    ]
    for number, chart in enumerate(charts):
        parts += [f'<g transform="translate({number * _WIDTH} 0)">', *_panel(chart, names), "</g>"]
    for row, name in enumerate(names):
        y = _HEIGHT + _LEGEND * row + 10
        parts.append(f'<path d="M{_LEFT} {y}h26" {_pen(row)}/>')
        parts.append(f'<text x="{_LEFT + 34}" y="{y + 4}" fill="{_INK}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(chart: Chart, names: Sequence[str]) -> list[str]:
    points = [point for line in chart.lines.values() for point in line]
    if not points:
        raise ValueError(f"the chart {chart.title!r} has no points")
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    values = [y for _, y in points] + ([chart.level[0]] if chart.level else [])
    low = min(values) if chart.low is None else chart.low
    high = max(values) if chart.high is None else chart.high
    inner, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def across(x: float) -> float:
        return _LEFT + inner * (x - left) / ((right - left) or 1)

    def up(y: float) -> float:
        share = (y - low) / ((high - low) or 1)
        return _TOP + tall * (1 - min(max(share, 0), 1))

    parts = [f'<text x="{_LEFT}" y="18" font-size="13" fill="{_INK}">{escape(chart.title)}</text>']
    for tick in range(5):
        value = low + (high - low) * tick / 4
        parts.append(f'<path d="M{_LEFT} {up(value):.1f}h{inner}" stroke="#d8d8de"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{up(value) + 4:.1f}" text-anchor="end" '
            f'fill="{_SOFT}">{value:.2f}</text>'
        )
    for x, anchor in ((left, "start"), (right, "end")):
        parts.append(
            f'<text x="{across(x):.1f}" y="{_HEIGHT - 16}" text-anchor="{anchor}" '
            f'fill="{_SOFT}">{x:g}</text>'
        )
    parts.append(
        f'<text x="{_LEFT + inner / 2}" y="{_HEIGHT - 16}" text-anchor="middle" '
        f'fill="{_SOFT}">{escape(chart.across)}</text>'
    )
    if chart.level is not None:
        value, meaning = chart.level
        parts.append(f'<path d="M{_LEFT} {up(value):.1f}h{inner}" stroke="{_INK}"/>')
        parts.append(
            f'<text x="{_WIDTH - _RIGHT - 4}" y="{up(value) + 13:.1f}" text-anchor="end" '
            f'fill="{_INK}">{escape(meaning)}</text>'
        )
    for name, line in chart.lines.items():
        path = "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in line)
        parts.append(f'<path d="M{path}" {_pen(names.index(name))}/>')
    return parts


def _pen(number: int) -> str:
    colour, dash = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'fill="none" stroke="{colour}" stroke-width="1.8"{dashed}'
