"""Verdicts: did a counterfactual change the planted reason, and nothing else?

Each verdict is (N, K) bool for N anomalies with K counterfactuals. Callers check besides that the
detector accepts the counterfactual.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

# Share of the distance to the ideal that may be left.
LEFT = 0.25
# Outside of the planted region no 3x3 pixels may have changed by more than this on average, with
# black 0 and white 1. Smaller changes are hard to see beside the original.
TOLERANCE = 0.1


def changed_only_one(
    predicted: Mapping[str, Tensor],
    true: Mapping[str, Tensor],
    normal: Mapping[str, tuple[int, ...]],
) -> Tensor:
    """According to a judge, one attribute became normal and all others stayed as they were.

    Args:
        predicted: attribute -> (N, K) values that the judge sees; negative ones are junk.
        true: attribute -> (N,) values of the anomalies.
        normal: attribute -> the values that make an image normal; exactly one of these attributes
            has to change.
    """
    kept = {name: predicted[name] == true[name][:, None] for name in predicted}
    changed = []
    for name, values in normal.items():
        became = torch.isin(predicted[name], torch.tensor(values))
        others = [kept[other] for other in kept if other != name]
        changed.append(torch.stack([became & ~kept[name], *others]).all(0))
    return torch.stack(changed).any(0)


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
    """Outside of the region nothing changed visibly; shapes as in `undone`."""
    return largest_change(before, after, region) <= TOLERANCE


def largest_change(before: Tensor, after: Tensor, region: Tensor) -> Tensor:
    """(N, K) largest mean change, in [0, 1], of 3x3 pixels, without those in the region."""
    count, concepts = after.shape[:2]
    change = (after.float() - before[:, None].float()).abs().mean(2) / 255
    outside = (~region).float()[:, None].expand(-1, concepts, -1, -1)
    change, outside = ((change * outside).flatten(0, 1), outside.flatten(0, 1))
    of_block = F.avg_pool2d(change[:, None], 3, 1)
    share = F.avg_pool2d(outside[:, None], 3, 1)
    # A block counts if at least a third of it lies outside.
    counted = share > 0.33
    means = torch.where(counted, of_block / share.clamp_min(1e-6), 0.0)
    return means.amax((1, 2, 3)).view(count, concepts)


def share_inside(weights: Tensor, region: Tensor) -> Tensor:
    """(N,) share in [0, 1] of the weights (N, H, W), such as heat, that lies in the region.

    It is NaN if all weights are 0.
    """
    weights = weights.double()
    return (weights * region).sum((1, 2)) / weights.sum((1, 2))


def times_chance(weights: Tensor, region: Tensor) -> Tensor:
    """(N,) the same divided by the region's share of the image; 1 is chance."""
    return share_inside(weights, region) / region.double().mean((1, 2))


def size(before: Tensor, after: Tensor) -> Tensor:
    """(N, K) L1 size of edits: absolute change summed over pixels and channels; white is 1."""
    return (after.float() - before[:, None].float()).abs().sum((2, 3, 4)) / 255
