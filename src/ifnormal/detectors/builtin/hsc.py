"""Hypersphere classification (Ruff et al. 2020): normal near the origin, outliers far from it."""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.detectors.builtin.objective import DetectorObjective

_TINY = 1e-6


def pseudo_huber(outputs: Tensor) -> Tensor:
    """H = √(‖z‖² + 1) − 1 of (N, O) outputs, (N,) and at least 0."""
    return (outputs.square().sum(1) + 1).sqrt() - 1


def repel(distance: Tensor) -> Tensor:
    """−log(1 − e^−h), large where h is small; written with expm1 so that it keeps its gradient."""
    return -(-torch.expm1(-distance)).clamp_min(_TINY).log()


def _loss(outputs: Tensor, is_outlier: Tensor, reference: Tensor) -> Tensor:
    h = pseudo_huber(outputs.float())
    return torch.where(is_outlier, repel(h), h).mean()


def _log_odds(outputs: Tensor, reference: Tensor) -> Tensor:
    # score 1 − e^−h, so log(score / (1 − score)) = log(1 − e^−h) + h.
    h = pseudo_huber(outputs.float())
    return h - repel(h)


HSC = DetectorObjective(
    name="hsc",
    outputs=64,
    bias=True,
    needs_outliers=True,
    loss=_loss,
    log_odds=_log_odds,
    reference=lambda outputs: torch.zeros(0),
)
