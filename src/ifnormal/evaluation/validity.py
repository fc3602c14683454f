"""Validity: how many counterfactuals the detector no longer flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifnormal.evaluation.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

VALIDITY = Metric(
    key="validity",
    title="valid",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="How many counterfactuals of a concept the detector no longer flags: their score is "
    "not above its threshold.",
    source="Verma et al., arXiv 2010.10596, section 5; for anomaly detection, ifnormal",
)


def validity(scores_after: Tensor, threshold: float) -> list[float]:
    """Share of counterfactuals with a score of at most `threshold`, in % for each concept.

    Args:
        scores_after: (N, K) detector scores of counterfactuals, N at least 1.
        threshold: scores above it are flagged as anomalous.

    Raises:
        ValueError: `scores_after` is not (N, K) or N is 0.
    """
    if scores_after.ndim != 2 or not len(scores_after):
        raise ValueError(f"validity needs (N, K) scores, N > 0, got {tuple(scores_after.shape)}")
    shares: list[float] = (100 * (scores_after <= threshold).double().mean(0)).tolist()
    return shares


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
    pass

    return validity(scores, threshold)
