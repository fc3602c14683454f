"""The smallest edit of a generator: that of the largest α whose edit the detector accepts.

A counterfactual has the target α = 0, the score of a typical normal image, and so it goes beyond
the threshold. The smallest accepted edit has an α near the threshold.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.common.pixels import quantize, to_float
from ifnormal.detectors.detector import log_odds_of
from ifnormal.explainers.explainer import Explainer

_STEPS = 8


def least_edits(
    explainer: Explainer, anomalies: Tensor, counterfactuals: Tensor, faint: int = 0
) -> Tensor:
    """For each accepted counterfactual, the smallest accepted edit that bisection of α finds.

    Args:
        explainer: fitted.
        anomalies: (N, C, H, W) uint8.
        counterfactuals: (N, K, C, H, W) uint8, for α = 0.
        faint: changes of a pixel's channel by at most this, of 255, are undone, and the detector
            has to accept the rest.

    Returns:
        (N, K, C, H, W) uint8; a counterfactual that the detector flags stays as it is.
    """
    floats, found = to_float(anomalies), counterfactuals.clone()
    limit = torch.logit(torch.tensor(explainer.detector.threshold, dtype=torch.float64)).item()
    for concept in range(counterfactuals.shape[1]):
        best = found[:, concept]
        may = log_odds_of(explainer.detector, best) <= limit
        size = _size(best, anomalies)
        low, high = torch.zeros(len(floats)), torch.ones(len(floats))
        for _ in range(_STEPS):
            middle = (low + high) / 2
            edited = without_faint(
                anomalies, quantize(explainer.edit(floats, middle, concept)), faint
            )
            accepted = log_odds_of(explainer.detector, edited) <= limit
            low, high = torch.where(accepted, middle, low), torch.where(accepted, high, middle)
            smaller = may & accepted & (_size(edited, anomalies) < size)
            best[smaller], size[smaller] = edited[smaller], _size(edited, anomalies)[smaller]
        found[:, concept] = best
    return found


def without_faint(images: Tensor, edited: Tensor, faint: int) -> Tensor:
    """Edits (N, C, H, W) uint8 without changes by at most `faint`, of 255."""
    changed = (edited.int() - images.int()).abs() > faint
    return torch.where(changed, edited, images)


def _size(edited: Tensor, images: Tensor) -> Tensor:
    return (edited.float() - images.float()).abs().sum((1, 2, 3))
