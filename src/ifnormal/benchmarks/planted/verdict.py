"""Verdicts: did a counterfactual change the planted reason, and nothing else?

Each verdict is (N, K) bool, for N anomalies with K counterfactuals. That the detector accepts the
counterfactual is asked for besides, by whoever calls.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

# Of the way to the ideal, so much may be left.
LEFT = 0.25
# Outside of the planted place no 3x3 pixels may have changed by more than this on average, on the
# scale from black 0 to white 1. Less is hard to see beside the original.
TOLERANCE = 0.1


def changed_only_one(
    predicted: Mapping[str, Tensor],
    true: Mapping[str, Tensor],
    normal: Mapping[str, tuple[int, ...]],
) -> Tensor:
    """One attribute became normal, to a judge's eyes, and all others are what they were.

    Args:
        predicted: attribute -> (N, K) values that the judge sees; negative is junk.
        true: attribute -> (N,) values of the anomalies.
        normal: attribute -> the values that by themselves make an image normal; of these
            attributes exactly one has to change.
    """
    kept = {name: predicted[name] == true[name][:, None] for name in predicted}
    ways = []
    for name, values in normal.items():
        became = torch.isin(predicted[name], torch.tensor(values))
        others = [kept[other] for other in kept if other != name]
        ways.append(torch.stack([became & ~kept[name], *others]).all(0))
    return torch.stack(ways).any(0)


def undone(before: Tensor, after: Tensor, region: Tensor, ideal: Tensor) -> Tensor:
    """Within the region, at most a quarter of the mean distance to the ideal is left.

    Args:
        before: (N, C, H, W) uint8 anomalies.
        after: (N, K, C, H, W) uint8.
        region: (N, H, W) bool.
        ideal: (N, C, H, W) uint8.
    """
    inside = region[:, None, None]
    left = ((after.float() - ideal[:, None].float()).abs() * inside).sum((2, 3, 4))
    whole = ((before - ideal.float()).abs()[:, None] * inside).sum((2, 3, 4))
    return left <= LEFT * whole


def untouched(before: Tensor, after: Tensor, region: Tensor) -> Tensor:
    """Outside of the region nothing changed that could be seen; shapes as in `undone`."""
    return largest_change(before, after, region) <= TOLERANCE


def largest_change(before: Tensor, after: Tensor, region: Tensor) -> Tensor:
    """(N, K) the largest mean change, in [0, 1], of 3x3 pixels, those in the region left out."""
    count, concepts = after.shape[:2]
    change = (after.float() - before[:, None].float()).abs().mean(2) / 255
    outside = (~region).float()[:, None].expand(-1, concepts, -1, -1)
    change, outside = ((change * outside).flatten(0, 1), outside.flatten(0, 1))
    of_block = F.avg_pool2d(change[:, None], 3, 1)
    share = F.avg_pool2d(outside[:, None], 3, 1)
    # A block of which little lies outside says little; a third of it has to.
    counted = share > 0.33
    means = torch.where(counted, of_block / share.clamp_min(1e-6), 0.0)
    return means.amax((1, 2, 3)).view(count, concepts)


def share_inside(weights: Tensor, region: Tensor) -> Tensor:
    """(N,) how much of (N, H, W) weights, such as heat or change, is within the region, in [0, 1].

    NaN where all weights are 0.
    """
    weights = weights.double()
    return (weights * region).sum((1, 2)) / weights.sum((1, 2))


def times_chance(weights: Tensor, region: Tensor) -> Tensor:
    """(N,) the same by the region's share of the image: 1 is what knows nothing of the region."""
    return share_inside(weights, region) / region.double().mean((1, 2))


def size(before: Tensor, after: Tensor) -> Tensor:
    """(N, K) L1 size of edits: the absolute change summed over pixels and channels, white is 1."""
    return (after.float() - before[:, None].float()).abs().sum((2, 3, 4)) / 255
