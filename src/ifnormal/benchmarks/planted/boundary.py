"""The least edit that the generator knows: the largest α that the detector still accepts.

A counterfactual is asked for the score α = 0, which is that of a typical normal image, and so goes
beyond the threshold. The generator has learnt every α in between; where the question is how little
would do, the answer lies at the threshold.
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
    """For each accepted counterfactual, the smallest accepted edit found by halving α.

    Args:
        explainer: fitted.
        anomalies: (N, C, H, W) uint8.
        counterfactuals: (N, K, C, H, W) uint8, those of α = 0.
        faint: changes of a channel of a pixel by at most so many of 255 steps are left out, and
            the detector has to accept what remains.

    Returns:
        (N, K, C, H, W) uint8; where the detector flags the counterfactual itself, that one.
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
    """Edits (N, C, H, W) uint8 without what changed by at most `faint` steps."""
    changed = (edited.int() - images.int()).abs() > faint
    return torch.where(changed, edited, images)


def _size(edited: Tensor, images: Tensor) -> Tensor:
    return (edited.float() - images.float()).abs().sum((1, 2, 3))
