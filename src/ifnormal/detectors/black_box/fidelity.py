"""Fidelity: how well a surrogate imitates the black box on images that it was not trained on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def fidelity(surrogate: Tensor, detector: Tensor, threshold: float) -> dict[str, Any]:
    """Compare scores (N,) in [0, 1] of the surrogate with those of the detector it imitates.

    Returns:
        `images`: N. `spearman`: rank correlation, None where one side is constant. `agreement`:
        share of the images that both or neither flag. `fooled`: share that the detector flags among
        those that the surrogate calls normal, None where there are none; it rises when a generator
        exploits the surrogate. `error`: mean absolute difference of the scores.
    """
    flagged, wanted = surrogate > threshold, detector > threshold
    return {
        "images": len(detector),
        "spearman": spearman(surrogate, detector),
        "agreement": _mean((flagged == wanted).float()),
        "fooled": _mean(wanted[~flagged].float()),
        "error": _mean((surrogate - detector).abs()),
    }


def spearman(first: Tensor, second: Tensor) -> float | None:
    """Rank correlation of two (N,) tensors in [-1, 1]; ties share their mean rank."""
    if len(first) < 2:
        return None
    ranks = torch.stack([_ranks(first), _ranks(second)])
    centred = ranks - ranks.mean(1, keepdim=True)
    spread = centred.square().sum(1).prod().sqrt()
    return float(centred.prod(0).sum() / spread) if spread > 0 else None


def _ranks(values: Tensor) -> Tensor:
    _, group, counts = values.double().unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts - 1) / 2)[group]


def _mean(values: Tensor) -> float | None:
    return round(float(values.mean()), 6) if len(values) else None
