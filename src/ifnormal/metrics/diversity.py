"""Diversity: do the counterfactuals of one anomaly differ from each other?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ifnormal.metrics.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

DIVERSITY = Metric(
    key="diversity",
    title="diversity",
    unit="",
    direction="higher",
    ideal=None,
    paper=None,
    meaning="How different the counterfactuals of one anomaly look from each other, from 0 (the "
    "same) to 2, as perceptual distance has it; beside that distance it says whether concepts "
    "differ by much of what they change.",
    source="Mothilal et al., FAT* 2020 (DiCE), section 3.1; distance: Zhang et al., CVPR 2018",
    in_features=True,
)

_BATCH = 256


def diversity(maps: Callable[[Tensor], Sequence[Tensor]], counterfactuals: Tensor) -> float | None:
    """Mean perceptual distance over all pairs of counterfactuals of one anomaly, [0, 2].

    Args:
        maps: (B, C, H, W) uint8 -> feature maps of several layers, (B, C', H', W') each.
        counterfactuals: (N, K, C, H, W) uint8, N at least 1.

    Returns:
        None for K = 1: there is no pair.

    Raises:
        ValueError: the shape is another one, or N is 0.
    """
    from itertools import combinations

    from ifnormal.metrics.distance import map_distance

    if counterfactuals.ndim != 5 or not len(counterfactuals):
        raise ValueError(f"expected (N, K, C, H, W), N > 0, got {tuple(counterfactuals.shape)}")
    pairs = list(combinations(range(counterfactuals.shape[1]), 2))
    if not pairs:
        return None
    total = 0.0
    for part in counterfactuals.split(_BATCH):
        seen = [maps(part[:, k]) for k in range(part.shape[1])]
        total += sum(float(map_distance(seen[i], seen[j]).double().sum()) for i, j in pairs)
    return total / (len(pairs) * len(counterfactuals))
