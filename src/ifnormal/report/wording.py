"""How names, counts and figures are written in the report."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from ifnormal.common.errors import printable

NOT_MEASURED = "–"
LONGEST = 240


def concept_name(concept: int, prompts: Sequence[str] = ()) -> str:
    """The prompt of a concept, quoted, or else its letter, A for 0.

    Args:
        concept: counted from 0.
        prompts: one for each concept, or none; untrusted text.
    """
    if concept < len(prompts):
        return f"“{short_line(prompts[concept])}”"
    letters = ""
    while concept >= 0:
        letters = chr(ord("A") + concept % 26) + letters
        concept = concept // 26 - 1
    return letters


def shortened(text: str) -> str:
    """Untrusted text, cut to at most `LONGEST` characters."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def short_line(text: str) -> str:
    """Untrusted text, such as a file name, as one line without control characters."""
    return shortened(printable(text))


def counted(count: int) -> str:
    """A count in a sentence: up to ten in words, above with grouped thousands."""
    words = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    return words[count] if 0 <= count < len(words) else f"{count:,}"


def joined(items: list[str]) -> str:
    """Items as in a sentence: A, B and C."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def percent(share: float) -> str:
    """A share in [0, 1], "93 %". Only all is 100 %, only none is 0 %."""
    if not isfinite(share):
        return NOT_MEASURED
    rounded = round(100 * share)
    if rounded == 100 and share < 1:
        return "over 99 %"
    if rounded == 0 and share > 0:
        return "under 1 %"
    return f"{rounded} %"


def score(value: float) -> str:
    """A detector score in [0, 1] with two decimals, cut so that 1.00 and 0.00 are not rounded."""
    if not isfinite(value):
        return NOT_MEASURED
    text = f"{value:.2f}"
    if text == "1.00" and value < 1:
        return ">0.99"
    if text == "0.00" and value > 0:
        return "<0.01"
    return text


def figure(value: float, unit: str) -> str:
    """A figure with its unit, rounded to about three digits."""
    if not isfinite(value):
        return NOT_MEASURED
    if unit == "s":
        return duration(value)
    text = f"{value:.1f}" if unit == "%" else number(value)
    return f"{text} {unit}".rstrip()


def number(value: float) -> str:
    """A plain number with three significant digits, thousands grouped."""
    if value == 0 or not isfinite(value):
        return "0" if value == 0 else NOT_MEASURED
    if abs(value) >= 100:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.2e}" if abs(value) < 1e-3 else f"{value:.3g}"
    return text.replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds as "12.3 s", "4 min 5 s" or "1 h 25 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"
