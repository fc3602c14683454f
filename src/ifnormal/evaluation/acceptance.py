"""Acceptance: how many counterfactuals independent detectors accept, alone and beside validity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifnormal.evaluation.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from ifnormal.explanation.explanation import Explanation
    from ifnormal.explanation.opinions import Opinions

_SOURCE = (
    "ifnormal; not in the paper. Transfer of adversarial examples: Papernot et al., arXiv "
    "1605.07277"
)
ACCEPTED_BY_ALL = Metric(
    key="accepted_by_all",
    title="accepted by all independent detectors",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="How many counterfactuals of a concept no independent detector flags; these are of "
    "other kinds than the explained one, and the generator never met them.",
    source=_SOURCE,
)
VALID_AND_ACCEPTED = Metric(
    key="valid_and_accepted",
    title="valid and accepted by all independent detectors",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="How many counterfactuals of a concept neither the explained detector nor an "
    "independent one flags.",
    source=_SOURCE,
)


def accepted_by_all(opinions: Opinions) -> list[float] | None:
    """Share of counterfactuals that all D independent detectors accept, in % for each concept.

    Of those that were asked about; None where a concept has none.
    """
    return _shares(opinions.accepts_after.all(2), opinions.asked)


def valid_and_accepted(explanation: Explanation) -> list[float] | None:
    """Share that the explained detector and all independent ones accept, in % for each concept.

    Of those with a second opinion; None where a concept has none.
    """
    opinions = explanation.second_opinion
    if opinions is None:
        return None
    return _shares(opinions.accepts_after.all(2) & explanation.valid, opinions.asked)


def normal_accepted_by_all(opinions: Opinions) -> float | None:
    """Share of held-out real normal images that all of them accept, in %; None if unknown."""
    counts = opinions.normal_accepted_by
    return 100 * counts[-1] / sum(counts) if sum(counts) else None


def anomalies_accepted_by_all(opinions: Opinions) -> float | None:
    """Share of anomalies that all of them accept before the edit, in %; None without anomalies."""
    asked = ~opinions.scores_before.isnan().any(1)
    if not asked.any():
        return None
    return 100 * float(opinions.accepts_before[asked].all(1).double().mean())


def _shares(accepted: Tensor, asked: Tensor) -> list[float] | None:
    """(N, K) bool each."""
    counts = asked.sum(0)
    if not bool(counts.all()) or not len(asked):
        return None
    shares: list[float] = (100 * (accepted & asked).sum(0) / counts).tolist()
    return shares
