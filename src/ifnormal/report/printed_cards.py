"""Cards on paper, and where no script runs: an anomaly, its edits, what changed, who agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ifnormal.common.json_reading import number_or_none
from ifnormal.explanation.entries import Counterfactual
from ifnormal.report.listing import Entry, Listing
from ifnormal.report.picture import (
    Picture,
    difference_picture,
    frames_of,
    heatmap_picture,
    image_picture,
    read_pixels,
    strip_picture,
)
from ifnormal.report.reading import Run, Truth
from ifnormal.report.verdict import normal_share, truth_share
from ifnormal.report.wording import concept_name, percent, short_line

# Characters of data URIs; the gallery's own pictures come on top.
BUDGET = 2_500_000
STRIP_SIDE = 72


@dataclass(frozen=True)
class Strip:
    """A traversal: frames side by side, with the score measured on each."""

    picture: Picture
    own_scores: Sequence[float]


@dataclass(frozen=True)
class EditCard:
    """One counterfactual of one anomaly.

    Attributes:
        concept: its name.
        pictures: the counterfactual, then what changed.
        own_score: the detector's score of it, in the user's own units.
        calibrated_score: the same in [0, 1].
        valid: the detector no longer flags it.
        recognised: how sure the concept classifier is of this concept; empty with one concept.
        verdict: what the judge sees in it, if one was asked.
        is_normal: whether that is normal; None if no judge was asked.
        strip: the way there, if it was recorded.
        refined: a refinement changed it.
        own_score_before: what it scored before that, in the user's own units, if it is known.
    """

    concept: str
    pictures: Sequence[Picture]
    own_score: float
    calibrated_score: float
    valid: bool
    recognised: str
    verdict: str
    is_normal: bool | None
    strip: Strip | None
    refined: bool
    own_score_before: float | None


@dataclass(frozen=True)
class Card:
    """One anomaly and its edits."""

    number: int
    name: str
    pictures: Sequence[Picture]
    own_score: float
    calibrated_score: float
    flagged: bool
    edits: Sequence[EditCard]

    @property
    def weight(self) -> int:
        """Characters of its pictures."""
        pictures = [*self.pictures, *(picture for edit in self.edits for picture in edit.pictures)]
        strips = [edit.strip.picture for edit in self.edits if edit.strip]
        return sum(len(picture.src) for picture in [*pictures, *strips])


def make_cards(
    listing: Listing,
    entries: Sequence[Entry],
    truth: Truth | None,
    limit: int,
    budget: int = BUDGET,
) -> list[Card]:
    """The first entries as cards: at least one, at most `limit`, as many as `budget` allows.

    Args:
        listing: where the pictures are.
        entries: explained images, in the order in which they are to be shown.
        truth: the judge's verdicts.
        limit: the most cards.
        budget: characters of data URIs.
    """
    cards: list[Card] = []
    spent = 0
    for entry in entries[:limit]:
        card = _card(listing, entry, truth)
        spent += card.weight
        if cards and spent > budget:
            break
        cards.append(card)
    return cards


def _card(listing: Listing, entry: Entry, truth: Truth | None) -> Card:
    name, before = short_line(entry.image.path), read_pixels(listing.folder, str(entry.image.file))
    pictures = [image_picture(before, "Anomaly", f"Anomaly {entry.number}: {name}")]
    if entry.heatmap is not None:
        alt = f"Heatmap: {listing.heatmap_label} in anomaly {entry.number}"
        heatmap = read_pixels(listing.folder, entry.heatmap)
        pictures.append(heatmap_picture(heatmap, listing.heatmap_label, alt))

    def edit_card(edit: Counterfactual) -> EditCard:
        judged = truth.of(entry, edit.concept) if truth else None
        after = read_pixels(listing.folder, edit.file)
        concept = concept_name(edit.concept, listing.prompts)
        alone = listing.head.concepts == 1
        alt = f"Counterfactual of anomaly {entry.number}" + (
            "" if alone else f", concept {concept}"
        )
        outcome = "accepted by the detector" if edit.valid else "still flagged by the detector"
        seen = f"; the judge sees {judged.verdict}" if judged and judged.verdict else ""
        sure = None if alone else edit.concept_probabilities[edit.concept]
        return EditCard(
            concept=concept,
            pictures=[
                image_picture(
                    after,
                    "Counterfactual" if alone else f"Concept {concept}",
                    f"{alt}: {outcome}{seen}",
                ),
                difference_picture(before, after, "Difference", f"What changed in it: {alt}"),
            ],
            own_score=edit.own_score,
            calibrated_score=edit.calibrated_score,
            valid=edit.valid,
            recognised="" if sure is None else percent(sure),
            verdict=judged.verdict if judged else "",
            is_normal=judged.is_normal if judged else None,
            strip=_strip(listing, entry, edit, alt),
            refined=edit.refined is not None,
            own_score_before=number_or_none(edit.refined or {}, "score_before"),
        )

    return Card(
        number=entry.number,
        name=name,
        pictures=pictures,
        own_score=entry.image.own_score,
        calibrated_score=entry.image.calibrated_score,
        flagged=entry.image.flagged,
        edits=[edit_card(edit) for edit in entry.edits],
    )


def _strip(listing: Listing, entry: Entry, edit: Counterfactual, alt: str) -> Strip | None:
    if edit.traversal is None:
        return None
    path = str(listing.folder / edit.traversal.file)
    count = len(listing.head.traversal_targets)
    frames = frames_of(read_pixels(listing.folder, edit.traversal.file), count, path)
    alt = f"{count} steps from anomaly {entry.number} to it: {alt}"
    return Strip(strip_picture(frames, "The way there", alt, STRIP_SIDE), edit.traversal.own_scores)


LIMIT = 6
CONTRAST_BUDGET = 700_000


@dataclass(frozen=True)
class Contrast:
    """A few anomalies edited by gradient descent on their pixels, and what that shows."""

    paragraphs: list[str]
    cards: list[Card]


def make_contrast(run: Run) -> Contrast | None:
    """The contrast section; None if the run has no gradient edits."""
    if run.gradient is None or not run.gradient.explained:
        return None
    gradient = run.gradient
    first = sorted(gradient.explained, key=lambda entry: entry.number)
    cards = make_cards(gradient, first, run.gradient_truth, LIMIT, budget=CONTRAST_BUDGET)
    shown = reversed(run.explanation.explained)
    places = {short_line(entry.image.path): entry.number for entry in shown}
    return Contrast(
        paragraphs=_paragraphs(run, gradient.accepted or 0.0),
        cards=[replace(card, number=places.get(card.name, 0)) for card in cards],
    )


def _paragraphs(run: Run, accepted: float) -> list[str]:
    normal, ours = truth_share(run.gradient_truth), normal_share(run)
    made = "These edits of some of the same anomalies follow the detector’s gradient, pixel by "
    made += "pixel, until its score is low; nothing was trained."
    if normal is None:
        return [made, f"{percent(accepted)} are valid. Does anything here look normal to you?"]
    if normal >= accepted / 2:
        return [
            made,
            f"{percent(accepted)} are valid, and the judge calls {percent(normal)} normal.",
        ]
    nothing = (
        "nothing a human would call normal"
        if normal == 0
        else (f"only {percent(normal)} normal to the judge")
    )
    moral = f"{percent(accepted)} valid, yet {nothing}: validity alone proves nothing."
    if ours is not None and ours > normal:
        moral += f" Of the explainer’s counterfactuals the judge calls {percent(ours)} normal."
    return [made, moral]
