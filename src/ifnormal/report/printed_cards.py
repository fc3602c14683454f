"""Cards on paper, and where no script runs: an anomaly, its edits, what changed, the verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ifnormal.common.json_reading import number_or_none
from ifnormal.explanation.entries import Counterfactual, ExplainedImage
from ifnormal.report.colour_change import difference
from ifnormal.report.listing import Entry, Listing
from ifnormal.report.picture import (
    LARGEST_DIFFERENCE_SIDE,
    Picture,
    frames_of,
    heatmap_pixels,
    make_picture,
    read_pixels,
    strip_picture,
)
from ifnormal.report.second_opinion import Badge, make_badge
from ifnormal.report.truth import Judged
from ifnormal.report.wording import percent, short_line

# Characters of data URIs; the gallery's own pictures come on top.
BUDGET = 2_500_000
STRIP_SIDE = 72


@dataclass(frozen=True)
class EditCard:
    """One counterfactual of one anomaly.

    Attributes:
        edit: its scores.
        concept: the concept's name.
        pictures: the counterfactual, then what changed.
        strip: the traversal, if there is one.
        judged: the judge's verdict, if there is one.
        badge: how many independent detectors accept it, if they were asked.
        recognised: how sure the concept classifier is of this concept; empty with one concept.
        score_before: its own score before refinement, if it is known.
    """

    edit: Counterfactual
    concept: str
    pictures: Sequence[Picture]
    strip: Picture | None
    judged: Judged | None
    badge: Badge | None
    recognised: str
    score_before: float | None


@dataclass(frozen=True)
class Card:
    """One anomaly and its edits."""

    number: int
    name: str
    image: ExplainedImage
    pictures: Sequence[Picture]
    edits: Sequence[EditCard]

    @property
    def weight(self) -> int:
        """Characters of its pictures."""
        strips = [card.strip for card in self.edits if card.strip]
        pictures = [*self.pictures, *(picture for card in self.edits for picture in card.pictures)]
        return sum(len(picture.src) for picture in [*pictures, *strips])


def make_cards(
    listing: Listing, entries: Sequence[Entry], limit: int, budget: int = BUDGET
) -> list[Card]:
    """The first entries as cards: at least one, at most `limit`, as many as `budget` allows.

    Args:
        listing: the explanation.
        entries: explained images, in the order in which they are to be shown.
        limit: the most cards.
        budget: characters of data URIs.
    """
    cards: list[Card] = []
    spent = 0
    for entry in entries[:limit]:
        card = _card(listing, entry)
        spent += card.weight
        if cards and spent > budget:
            break
        cards.append(card)
    return cards


def _card(listing: Listing, entry: Entry) -> Card:
    name, before = short_line(entry.image.path), read_pixels(listing.folder, str(entry.image.file))
    pictures = [make_picture("image", "Anomaly", f"Anomaly {entry.number}: {name}", before)]
    if entry.image.heatmap is not None:
        label = listing.heatmap_label
        alt = f"Heatmap: {label} in anomaly {entry.number}"
        heat = heatmap_pixels(read_pixels(listing.folder, entry.image.heatmap))
        pictures.append(make_picture("heatmap", label, alt, heat, LARGEST_DIFFERENCE_SIDE))

    def edit_card(edit: Counterfactual) -> EditCard:
        judged = listing.truth.of(entry.row, edit.concept)
        after = read_pixels(listing.folder, edit.file)
        changed = difference(before, after)
        concept = listing.concept_names[edit.concept]
        alone = listing.head.concepts == 1
        label = "Counterfactual" if alone else f"Concept {concept}"
        alt = f"Counterfactual of anomaly {entry.number}"
        alt += "" if alone else f", concept {concept}"
        said = "accepted by the detector" if edit.valid else "still flagged by the detector"
        badge = make_badge(edit.second_opinion)
        said += f"; {badge.words}" if badge else ""
        said += f"; the judge sees {judged.verdict}" if judged and judged.verdict else ""
        return EditCard(
            edit=edit,
            concept=concept,
            pictures=[
                make_picture("image", label, f"{alt}: {said}", after),
                make_picture(
                    "difference",
                    "Difference",
                    f"What changed in it: {alt}",
                    changed,
                    LARGEST_DIFFERENCE_SIDE,
                ),
            ],
            strip=_strip(listing, entry, edit, alt),
            judged=judged,
            badge=badge,
            recognised="" if alone else percent(edit.concept_probabilities[edit.concept]),
            score_before=number_or_none(edit.refined or {}, "score_before"),
        )

    edits = [edit_card(edit) for edit in entry.edits]
    return Card(entry.number, name, entry.image, pictures, edits)


def _strip(listing: Listing, entry: Entry, edit: Counterfactual, alt: str) -> Picture | None:
    if edit.traversal is None:
        return None
    file, count = edit.traversal.file, len(listing.head.traversal_targets)
    strip = read_pixels(listing.folder, file)
    frames = frames_of(strip, count, str(listing.folder / file))
    alt = f"{count} steps from anomaly {entry.number} to it: {alt}"
    return strip_picture(frames, "The way there", alt, STRIP_SIDE)
