"""The contrast: anomalies edited by gradient descent on their pixels, and what that shows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ifnormal.report.printed_cards import Card, make_cards
from ifnormal.report.reading import Run
from ifnormal.report.second_opinion import acceptance_of, all_of
from ifnormal.report.verdict import normal_share
from ifnormal.report.wording import percent, short_line

LIMIT = 6
# Characters of data URIs.
BUDGET = 700_000


@dataclass(frozen=True)
class Contrast:
    """A few anomalies with their gradient edits, and what these show."""

    paragraphs: list[str]
    cards: list[Card]


def make_contrast(run: Run) -> Contrast | None:
    """The contrast section; None if the run has no gradient edits."""
    gradient = run.gradient
    if gradient is None or not gradient.explained:
        return None
    first = sorted(gradient.explained, key=lambda entry: entry.number)
    cards = make_cards(gradient, first, LIMIT, BUDGET)
    shown = reversed(run.explanation.explained)
    places = {short_line(entry.image.path): entry.number for entry in shown}
    return Contrast(
        paragraphs=_paragraphs(run, gradient.accepted or 0.0, gradient.truth.normal_share),
        cards=[replace(card, number=places.get(card.name, 0)) for card in cards],
    )


def _paragraphs(run: Run, accepted: float, normal: float | None) -> list[str]:
    ours, others = normal_share(run), None
    if run.gradient is not None:
        others = acceptance_of(run.gradient.head, run.gradient.opinions)
    made = "These edits of some of the same anomalies follow the detector’s gradient, pixel by "
    made += "pixel, until its score is low; nothing was trained."
    if normal is None and others is not None:
        accept = f"{all_of(others.detectors)} accept{'s' if others.detectors == 1 else ''}"
        return [made, f"{percent(accepted)} are valid; {accept} {percent(others.accepted)}."]
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
        else f"only {percent(normal)} normal to the judge"
    )
    moral = f"{percent(accepted)} valid, yet {nothing}: validity alone proves nothing."
    if ours is not None and ours > normal:
        moral += f" Of the explainer’s counterfactuals the judge calls {percent(ours)} normal."
    return [made, moral]
