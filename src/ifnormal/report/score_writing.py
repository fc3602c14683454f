"""How scores in the user's own units are written: with enough decimals to tell them apart."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, isfinite, log10

from ifnormal.report.listing import Listing
from ifnormal.report.wording import NOT_MEASURED, score

_MOST_DECIMALS = 6


@dataclass(frozen=True)
class ScoreWriting:
    """One way to write the scores of a detector; the page's script has the same rules.

    Attributes:
        decimals: digits after the point; None for three significant digits.
        is_share: scores are in [0, 1], where 1.00 and 0.00 are written only if nothing was rounded.
    """

    decimals: int | None
    is_share: bool

    def __call__(self, value: float) -> str:
        """A score as text, with a minus sign that is one."""
        if not isfinite(value):
            return NOT_MEASURED
        if self.is_share:
            return score(value)
        text = f"{value:.2e}" if self.decimals is None else f"{value:.{self.decimals}f}"
        if text.startswith("-") and not text.strip("-0."):
            text = text[1:]
        return text.replace("-", "−")


def score_writing(listing: Listing) -> ScoreWriting:
    """Enough decimals to tell the scores of this explanation apart."""
    (low, high), head = listing.own_scores, listing.head
    if low >= 0 and high <= 1 and head.own_threshold == head.calibrated_threshold:
        return ScoreWriting(2, is_share=True)
    spread = high - low or abs(high) or 1.0
    decimals = 2 - floor(log10(spread))
    if decimals > _MOST_DECIMALS or max(abs(low), abs(high)) >= 1e9:
        return ScoreWriting(None, is_share=False)
    return ScoreWriting(max(decimals, 0), is_share=False)
