"""Sums over second opinions: how many counterfactuals and images k independent detectors accept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from ifnormal.explanation.entries import ExplainedImage, SkippedImage
from ifnormal.explanation.totals import Summable


@dataclass(frozen=True)
class OpinionTotals(Summable):
    """Counterfactuals and images by the number of independent detectors that accept them.

    Those without a second opinion do not count.

    Attributes:
        edits: counterfactuals, by number of detectors.
        valid_edits: of these, those that the explained detector accepts too.
        before: the images that were explained, before the edit.
    """

    edits: Counter[int] = field(default_factory=Counter)
    valid_edits: Counter[int] = field(default_factory=Counter)
    before: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, entries: Iterable[ExplainedImage | SkippedImage]) -> OpinionTotals:
        """Count entries."""
        totals = cls()
        for image in entries:
            if isinstance(image, SkippedImage) or not image.counterfactuals:
                continue
            if image.second_opinion:
                totals.before[sum(opinion.accepts for opinion in image.second_opinion)] += 1
            for edit in image.counterfactuals:
                if edit.second_opinion:
                    accepting = sum(opinion.accepts for opinion in edit.second_opinion)
                    totals.edits[accepting] += 1
                    totals.valid_edits[accepting] += edit.valid
        return totals

    @property
    def asked(self) -> int:
        """The number of counterfactuals with a second opinion."""
        return self.edits.total()

    def accepted_by_all(self, detectors: int) -> float | None:
        """The share of counterfactuals that all independent detectors accept; None without any."""
        return self.edits[detectors] / self.asked if self.asked else None

    def valid_and_accepted(self, detectors: int) -> float | None:
        """The share that the explained detector and all independent ones accept; None without."""
        return self.valid_edits[detectors] / self.asked if self.asked else None


def shares(counts: Counter[int], detectors: int) -> list[float]:
    """The shares accepted by 0, 1, ..., `detectors` detectors; [] where nothing was counted."""
    total = counts.total()
    return [counts[k] / total for k in range(detectors + 1)] if total else []
