"""Monotonicity: does the score follow the α that was asked for?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifnormal.evaluation.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

MONOTONICITY = Metric(
    key="monotonicity",
    title="monotonicity",
    unit="",
    direction="higher",
    ideal=1.0,
    paper=None,
    meaning="Rank correlation of the score that was asked for and the score that was reached along "
    "the way from an anomaly to its counterfactual: 1 if every step towards normal lowers the "
    "score, 0 if the score does not follow, −1 if it rises.",
    source="Spearman 1904; of traversals as in Ghandeharioun et al., arXiv 2105.15164 (DISSECT), "
    "section 4 (importance)",
)


def monotonicity(targets: Tensor, scores: Tensor) -> float | None:
    """Spearman's correlation of targets and scores of each traversal, [-1, 1], mean over all.

    Equal scores share their mean rank. A traversal whose scores are all equal does not follow and
    counts as 0.

    Args:
        targets: (T,) scores asked for, or their shares of the anomaly's own, which rank alike.
        scores: (M, K, T) detector scores along the traversals.

    Returns:
        None where there are no traversals, or all targets are equal.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if scores.ndim != 3 or targets.shape != scores.shape[2:]:
        raise ValueError(
            f"expected (T,) and (M, K, T), got {tuple(targets.shape)} and {tuple(scores.shape)}"
        )
    asked, reached = _centred_ranks(targets.double()), _centred_ranks(scores.double())
    if not reached.numel() or not bool(asked.any()):
        return None
    norms = asked.norm() * reached.norm(dim=2)
    following = (reached * asked).sum(2) / norms.where(norms > 0, 1.0)
    return float(following.mean())


def _centred_ranks(values: Tensor) -> Tensor:
    """Ranks along the last dimension, their mean being 0; ties share theirs."""
    less = (values[..., None] > values[..., None, :]).double().sum(-1)
    more = (values[..., None] < values[..., None, :]).double().sum(-1)
    return (less - more) / 2
