"""The contrast: what a plain pixel gradient gets accepted, and what a judge makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ifnormal.report.cards import Card, make_cards
from ifnormal.report.run import Run
from ifnormal.report.verdict import normal_share, truth_share
from ifnormal.report.wording import percent, short_line

LIMIT = 6
BUDGET = 700_000


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
    cards = make_cards(gradient, first, run.gradient_truth, LIMIT, budget=BUDGET)
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
