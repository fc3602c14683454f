"""The gallery: one card an anomaly, with its counterfactuals, what changed and who agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ifnormal.explanation import Explanation
from ifnormal.report.picture import (
    Picture,
    difference_picture,
    heatmap_picture,
    image_picture,
    strip_picture,
)
from ifnormal.report.run import Truth
from ifnormal.report.wording import concept_name, percent, score, shortened

# Characters of data URIs; with the rest of the page the file stays well under 6 MB.
BUDGET = 4_500_000


@dataclass(frozen=True)
class Strip:
    """A traversal: frames side by side, with the score measured on each."""

    picture: Picture
    scores: Sequence[float]

    @property
    def labels(self) -> Sequence[str]:
        """The scores as written under the frames."""
        return [score(value) for value in self.scores]


@dataclass(frozen=True)
class Edit:
    """One counterfactual of one anomaly.

    Attributes:
        concept: its letter.
        pictures: the counterfactual, then what changed.
        score: the detector's score of it.
        valid: the detector no longer flags it.
        recognised: how sure the concept classifier is of this concept; empty with one concept.
        verdict: what the judge sees in it, if one was asked.
        is_normal: whether that is normal; None if no judge was asked.
        strip: the way there, if it was recorded.
    """

    concept: str
    pictures: Sequence[Picture]
    score: float
    valid: bool
    recognised: str
    verdict: str
    is_normal: bool | None
    strip: Strip | None


@dataclass(frozen=True)
class Card:
    """One anomaly and its edits."""

    number: int
    name: str
    pictures: Sequence[Picture]
    score: float
    edits: Sequence[Edit]

    @property
    def weight(self) -> int:
        """Characters of its pictures."""
        pictures = [*self.pictures, *(picture for edit in self.edits for picture in edit.pictures)]
        strips = [edit.strip.picture for edit in self.edits if edit.strip]
        return sum(len(picture.src) for picture in [*pictures, *strips])


def make_cards(
    explanation: Explanation,
    truth: Truth | None,
    limit: int,
    heatmaps: Tensor | None = None,
    budget: int = BUDGET,
) -> list[Card]:
    """The first anomalies as cards: at least one, at most `limit`, as many as `budget` allows.

    Args:
        explanation: what to show.
        truth: the judge's verdicts, aligned with it.
        limit: the most cards.
        heatmaps: (N, H, W) in [0, 1], where the detector looks; adds a picture to each card.
        budget: characters of data URIs.
    """
    cards: list[Card] = []
    spent = 0
    for n in range(min(limit, len(explanation))):
        card = _card(explanation, truth, heatmaps, n)
        spent += card.weight
        if cards and spent > budget:
            break
        cards.append(card)
    return cards


def _card(explanation: Explanation, truth: Truth | None, heatmaps: Tensor | None, n: int) -> Card:
    name = shortened(explanation.names[n])
    pictures = [image_picture(explanation.anomalies[n], "Anomaly", f"Anomaly {n + 1}: {name}")]
    if heatmaps is not None:
        alt = f"Heatmap: where the detector looks in anomaly {n + 1}"
        pictures.append(heatmap_picture(heatmaps[n], "Heatmap", alt))
    return Card(
        number=n + 1,
        name=name,
        pictures=pictures,
        score=float(explanation.scores_before[n]),
        edits=[_edit(explanation, truth, n, k) for k in range(explanation.concepts)],
    )


def _edit(explanation: Explanation, truth: Truth | None, n: int, k: int) -> Edit:
    before, after = explanation.anomalies[n], explanation.counterfactuals[n, k]
    concept, valid = concept_name(k), bool(explanation.valid[n, k])
    verdict = shortened(truth.verdicts[n][k]) if truth else ""
    alone = explanation.concepts == 1
    title = "Counterfactual" if alone else f"Concept {concept}"
    alt = f"Counterfactual of anomaly {n + 1}" + ("" if alone else f", concept {concept}")
    seen = f"; the judge sees {verdict}" if verdict else ""
    outcome = "accepted by the detector" if valid else "still flagged by the detector"
    return Edit(
        concept=concept,
        pictures=[
            image_picture(after, title, f"{alt}: {outcome}{seen}"),
            difference_picture(before, after, "Difference", f"What changed in it: {alt}"),
        ],
        score=float(explanation.scores_after[n, k]),
        valid=valid,
        recognised="" if alone else percent(float(explanation.concept_probabilities[n, k, k])),
        verdict=verdict,
        is_normal=truth.is_normal[n][k] if truth else None,
        strip=_strip(explanation, n, k, alt),
    )


def _strip(explanation: Explanation, n: int, k: int, alt: str) -> Strip | None:
    frames = explanation.traversal_targets.shape[0]
    if n >= explanation.traversals.shape[0] or frames < 2:
        return None
    label = "The way there"
    alt = f"{frames} steps from anomaly {n + 1} to it: {alt}"
    picture = strip_picture(explanation.traversals[n, k], label, alt)
    return Strip(picture, explanation.traversal_scores[n, k].tolist())
