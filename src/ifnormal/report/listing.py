"""Listing: what a report keeps of explanation.json, in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ifnormal.explanation.document import read_entries, read_head
from ifnormal.explanation.entries import Counterfactual, ExplainedImage, Head, SkippedImage
from ifnormal.explanation.opinion_totals import OpinionTotals
from ifnormal.explanation.totals import Counts, ImprovementTotals
from ifnormal.report.truth import Truth
from ifnormal.report.wording import concept_name

# Images of each kind that the page shows; explanation.json lists them all.
SHOWN = 2_000
# Images that the figures of the concepts are measured on; more would hardly change them.
MEASURED = 2_000

Outcome = Literal["all", "some", "none", "unexplained", "unflagged"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One image that was scored.

    Attributes:
        number: its place in the list of all, counted from 1; a link names it.
        row: its place among the explained ones, counted from 0; None if it was not explained.
        image: its entry in explanation.json.
    """

    number: int
    row: int | None
    image: ExplainedImage

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
    """An explanation folder as the report sees it, of a size that does not grow with the images.

    Attributes:
        folder: where the pictures are.
        head: what holds for all images.
        counts: how many images and counterfactuals there are.
        explained: the most anomalous images with counterfactuals, in this order.
        others: the most anomalous images without, in this order.
        sample: explained images, taken evenly over all, in the order of the list.
        skipped: the first files that could not be read.
        own_scores: the lowest and the highest score of all, the threshold among them, in the user's
            own units.
        improvement: what refinement and thrift gave, over all images.
        opinions: what independent detectors say, over all images.
        truth: the judge's verdicts on its counterfactuals.
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
    opinions: OpinionTotals
    truth: Truth = field(default_factory=Truth)

    @property
    def accepted(self) -> float | None:
        """The share of counterfactuals that the detector accepts; None where there are none."""
        made = self.counts.counterfactuals
        return self.counts.valid / made if made else None

    @property
    def prompts(self) -> Sequence[str]:
        """The prompts that name the concepts; empty where these have no names of their own."""
        facts = self.head.facts  # version 0.1.0 knew prompts alone
        prompts = facts.get("concept_names", facts.get("prompts"))
        if not isinstance(prompts, list) or not all(isinstance(word, str) for word in prompts):
            return ()
        return prompts if len(prompts) == len(set(prompts)) == self.head.concepts > 1 else ()

    @property
    def concept_names(self) -> list[str]:
        """K names: the concepts' prompts or letters."""
        return [concept_name(k, self.prompts) for k in range(self.head.concepts)]

    @property
    def heatmap_label(self) -> str:
        """What a heatmap is: the detector's own, or whose gradient."""
        if self.head.facts.get("heatmap") == "own":
            return "The detector's own heatmap: where its score comes from"
        through = " of the surrogate" if "surrogate" in self.head.facts else ""
        return f"Input gradient{through}: what the score answers to"


def read_listing(folder: Path, shown: int = SHOWN, measured: int = MEASURED) -> Listing:
    """Read `explanation.json` of an explanation folder in one pass, without any picture.

    Args:
        folder: holds it.
        shown: the most `explained` images, `others` and `skipped` files.
        measured: the most images of the `sample`.

    Raises:
        UserError: it is missing, damaged, of another version, or names files elsewhere.
    """
    head = read_head(folder)
    counts, improvement, opinions = Counts(), ImprovementTotals(), OpinionTotals()
    explained: list[Entry] = []
    others: list[Entry] = []
    sample: list[Entry] = []
    skipped: list[SkippedImage] = []
    step = 1  # every so many explained images are in the sample
    low = high = head.own_threshold
    for item in read_entries(folder, head):
        counts += Counts.of([item])
        if isinstance(item, SkippedImage):
            skipped += [item] if len(skipped) < shown else []
            continue
        entry = Entry(counts.images, counts.explained - 1 if item.file else None, item)
        if entry.row is not None and entry.row % step == 0:
            sample.append(entry)
            if len(sample) > measured:
                sample, step = sample[::2], 2 * step
        of_its_kind = others if entry.row is None else explained
        of_its_kind.append(entry)
        if len(of_its_kind) > 2 * shown + 100:
            of_its_kind[:] = _most_anomalous(of_its_kind, shown, head)
        improvement += ImprovementTotals.of([item])
        opinions += OpinionTotals.of([item])
        scores = [item.own_score, *(edit.own_score for edit in entry.edits)]
        low, high = min(low, *scores), max(high, *scores)
    return Listing(
        folder=folder,
        head=head,
        counts=counts,
        explained=_most_anomalous(explained, shown, head),
        others=_most_anomalous(others, shown, head),
        sample=sample,
        skipped=skipped,
        own_scores=(low, high),
        improvement=improvement,
        opinions=opinions,
    )


def _most_anomalous(entries: Sequence[Entry], count: int, head: Head) -> list[Entry]:
    """The first so many entries in the order of the gallery."""
    sign = -1 if head.higher_is == "normal" else 1

    def place(entry: Entry) -> tuple[float, float, int]:
        # Calibrated scores may be equal close to 1 where the user's own still differ.
        return -entry.image.calibrated_score, -sign * entry.image.own_score, entry.number

    return sorted(entries, key=place)[:count]
