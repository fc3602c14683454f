"""What a report keeps of an explanation: counts of all images, and the entries that it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from pathlib import Path
from typing import Literal

import numpy as np

from ifnormal.explanation.document import Document, read_document
from ifnormal.explanation.entries import Counterfactual, ExplainedImage, Head, SkippedImage
from ifnormal.explanation.totals import Counts, ImprovementTotals
from ifnormal.report.wording import NOT_MEASURED, score

# More would be no page but an archive; explanation.json lists them all.
SHOWN = 2_000
# More anomalies would move no figure that anybody reads.
MEASURED = 2_000

Outcome = Literal["all", "some", "none", "unexplained", "unflagged"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One image that the detector was asked about.

    Attributes:
        number: its place in the list of all, counted from 1; a link names it.
        row: its place among the explained ones, counted from 0; None if it was not explained.
        image: what is said of it.
    """

    number: int
    row: int | None
    image: ExplainedImage

    @property
    def heatmap(self) -> str | None:
        """A grey picture of the detector's input gradient, if there is one."""
        return self.image.heatmap

    @property
    def edits(self) -> Sequence[Counterfactual]:
        """Its counterfactuals, one a concept, or none."""
        return self.image.counterfactuals

    @property
    def outcome(self) -> Outcome:
        """Whether the detector flags it and how many of its counterfactuals it accepts."""
        if not self.image.flagged:
            return "unflagged"
        if not self.edits:
            return "unexplained"
        accepted = sum(edit.valid for edit in self.edits)
        return "all" if accepted == len(self.edits) else "some" if accepted else "none"


@dataclass(frozen=True)
class Listing:
    """An explanation folder as the report sees it; its size does not grow with the images.

    Attributes:
        folder: where the pictures are.
        head: what holds for all images.
        counts: how many there are of what.
        explained: the most anomalous images with counterfactuals, in this order.
        others: the most anomalous images without, in this order.
        sample: explained images, taken evenly over all, in the order of the list.
        skipped: the first files that could not be read.
        own_scores: the lowest and the highest score of all, the threshold among them, in the user's
            own units.
        improvement: what refinement and thrift gave, over all images.
    """

    folder: Path
    head: Head
    counts: Counts
    explained: Sequence[Entry]
    others: Sequence[Entry]
    sample: Sequence[Entry]
    skipped: Sequence[SkippedImage]
    own_scores: tuple[float, float]
    improvement: ImprovementTotals

    @property
    def accepted(self) -> float | None:
        """The share of counterfactuals that the detector accepts; None where there are none."""
        made = self.counts.counterfactuals
        return self.counts.valid / made if made else None

    @property
    def prompts(self) -> Sequence[str]:
        """The prompts that name the concepts; empty where these have no names of their own."""
        prompts = self.head.facts.get("prompts")
        if not isinstance(prompts, list) or not all(isinstance(word, str) for word in prompts):
            return ()
        return prompts if len(prompts) == len(set(prompts)) == self.head.concepts > 1 else ()

    @property
    def heatmap_label(self) -> str:
        """What a heatmap is: the detector's own, or whose gradient."""
        if self.head.facts.get("heatmap") == "own":
            return "The detector's own heatmap: where its score comes from"
        through = " of the surrogate" if "surrogate" in self.head.facts else ""
        return f"Input gradient{through}: what the score answers to"


def read_listing(folder: Path, shown: int = SHOWN, measured: int = MEASURED) -> Listing:
    """Read `explanation.json` of an explanation folder, without any picture.

    Args:
        folder: holds it.
        shown: the most `explained` images, `others` and `skipped` files.
        measured: the most images of the `sample`.

    Raises:
        UserError: it is missing, damaged, of another version, or names files elsewhere.
    """
    document = read_document(folder)
    head, explained_count = document.head, document.counts.explained
    chosen = np.linspace(0, explained_count - 1, min(measured, explained_count)).round()
    rows = {int(row) for row in chosen}
    explained, others = _First(shown, head), _First(shown, head)
    sample: list[Entry] = []
    low = high = head.own_threshold
    improvement = ImprovementTotals()
    for entry in entries(document):
        (explained if entry.edits else others).add(entry)
        if entry.row in rows:
            sample.append(entry)
        improvement += ImprovementTotals.of([entry.image])
        scores = [entry.image.own_score, *(edit.own_score for edit in entry.edits)]
        low, high = min(low, *scores), max(high, *scores)
    skipped = [bad for bad, _ in zip(document.skipped(), range(shown), strict=False)]
    return Listing(
        folder=document.folder,
        head=head,
        counts=document.counts,
        explained=explained.in_order(),
        others=others.in_order(),
        sample=sample,
        skipped=skipped,
        own_scores=(low, high),
        improvement=improvement,
    )


def entries(document: Document) -> Iterator[Entry]:
    """Every image with its numbers, in the order of the list, read one after the other."""
    row = 0
    for number, image in enumerate(document.images(), start=1):
        yield Entry(
            number=number,
            row=row if image.counterfactuals else None,
            image=image,
        )
        row += bool(image.counterfactuals)


class _First:
    """The most anomalous of any number of entries, never holding many more than these."""

    def __init__(self, limit: int, head: Head) -> None:
        self._limit, self._sign = limit, -1 if head.higher_is == "normal" else 1
        self._entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        self._entries.append(entry)
        if len(self._entries) > 2 * self._limit + 100:
            self._entries = self.in_order()

    def in_order(self) -> list[Entry]:
        return sorted(self._entries, key=self._place)[: self._limit]

    def _place(self, entry: Entry) -> tuple[float, float, int]:
        # Calibrated scores may be equal close to 1 where the user's own still differ.
        image = entry.image
        return -image.calibrated_score, -self._sign * image.own_score, entry.number


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
