"""Does a second detector agree, of another objective or seed? What fools one need not fool two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifnormal.metrics.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

SECOND_DETECTOR_AGREES = Metric(
    key="second_detector_agrees",
    title="accepted by a second detector",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="How many counterfactuals of a concept a second detector does not flag, which was "
    "trained with another objective or seed and which the generator never met.",
    source="ifnormal; not in the paper. Transfer of adversarial examples: Papernot et al., arXiv "
    "1605.07277",
)


def second_detector_agrees(scores: Tensor, threshold: float) -> list[float]:
    """Share of counterfactuals with a second detector's score of at most its own threshold, in %.

    Args:
        scores: (N, K) the second detector's scores of counterfactuals, N at least 1.
        threshold: the second detector's; it flags scores above it.

    Raises:
        ValueError: `scores` is not (N, K) or N is 0.
    """
    from ifnormal.metrics.validity import validity

    return validity(scores, threshold)
