"""How far a counterfactual is from its anomaly: pixel by pixel, and as a network sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ifnormal.evaluation.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

MSE = Metric(
    key="mse",
    title="squared change",
    unit="",
    direction="lower",
    ideal=None,
    paper=None,
    meaning="Mean squared change of a pixel on its way from anomaly to counterfactual, where "
    "black is 0 and white is 1; at 0 nothing was changed.",
    source="Liznerski, Varshneya et al., AAAI 2026, arXiv 2402.14469, section 4",
)
PERCEPTUAL_DISTANCE = Metric(
    key="perceptual_distance",
    title="perceptual distance",
    unit="",
    direction="lower",
    ideal=None,
    paper=None,
    meaning="How different anomaly and counterfactual look to the convolutional stages of a "
    "network, from 0 (the same) to 2. LPIPS figures of another network do not compare.",
    source="Zhang et al., CVPR 2018 (LPIPS), section 3, without learned weights",
    in_features=True,
)

_BATCH = 256


def mse(anomalies: Tensor, counterfactuals: Tensor) -> list[float]:
    """Mean squared difference, [0, 1], for each concept; less is nearer.

    Args:
        anomalies: (N, C, H, W) uint8, N at least 1.
        counterfactuals: (N, K, C, H, W) uint8.

    Raises:
        ValueError: shapes or types do not fit together.
    """
    _check(anomalies, counterfactuals)
    return [
        ((anomalies.double() - counterfactuals[:, k].double()) / 255).square().mean().item()
        for k in range(counterfactuals.shape[1])
    ]


def perceptual_distance(
    maps: Callable[[Tensor], Sequence[Tensor]], anomalies: Tensor, counterfactuals: Tensor
) -> list[float]:
    """Mean LPIPS-style distance, [0, 2] for maps of no negative values, for each concept.

    Args:
        maps: (B, C, H, W) uint8 -> feature maps of several layers, (B, C', H', W') each.
        anomalies: (N, C, H, W) uint8, N at least 1.
        counterfactuals: (N, K, C, H, W) uint8.

    Raises:
        ValueError: shapes or types do not fit together.
    """
    import torch

    _check(anomalies, counterfactuals)
    distances = []
    for start in range(0, len(anomalies), _BATCH):
        part = slice(start, start + _BATCH)
        before = maps(anomalies[part])
        concepts = range(counterfactuals.shape[1])
        after = [maps(counterfactuals[part, k]) for k in concepts]
        distances.append(torch.stack([map_distance(before, after[k]) for k in concepts], 1))
    means: list[float] = torch.cat(distances).double().mean(0).tolist()
    return means


def map_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """(B,) distances of two lists of feature maps, (B, C', H', W') each.

    In every place of every layer the channels are scaled to length 1; their squared difference is
    averaged over places, then layers. A place where all channels are 0 has no direction: it is
    0 from another such place and 1 from any other.
    """
    import torch
    from torch.nn.functional import normalize

    return torch.stack(
        [
            (normalize(a, dim=1) - normalize(b, dim=1)).square().sum(1).mean((1, 2))
            for a, b in zip(first, second, strict=True)
        ]
    ).mean(0)


def _check(anomalies: Tensor, counterfactuals: Tensor) -> None:
    import torch

    fits = counterfactuals.ndim == 5 and (
        anomalies.shape == counterfactuals.shape[:1] + counterfactuals.shape[2:]
    )
    if not fits or not len(anomalies):
        raise ValueError(
            f"expected (N, C, H, W) and (N, K, C, H, W), N > 0, "
            f"got {tuple(anomalies.shape)} and {tuple(counterfactuals.shape)}"
        )
    if {anomalies.dtype, counterfactuals.dtype} != {torch.uint8}:
        raise ValueError(f"expected uint8, got {anomalies.dtype} and {counterfactuals.dtype}")


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

    pass

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
