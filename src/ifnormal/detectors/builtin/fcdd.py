"""FCDD (Liznerski et al., ICLR 2021): hypersphere classification whose outputs are a heatmap."""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.detectors.builtin.fully_convolutional import FullyConvolutional
from ifnormal.detectors.builtin.hsc import repel
from ifnormal.detectors.builtin.objective import DetectorObjective


def anomaly_map(outputs: Tensor) -> Tensor:
    """A = √(f² + 1) − 1 of maps (N, 1, ...), (N, ...) and at least 0."""
    squared = outputs.float().square().sum(1)
    return squared / ((squared + 1).sqrt() + 1)  # the same, and exact where f is small


def _mean(outputs: Tensor) -> Tensor:
    """The mean (N,) of the map; of outputs (N, 1), the map of a single unit."""
    return anomaly_map(outputs).reshape(len(outputs), -1).mean(1)


def _loss(outputs: Tensor, is_outlier: Tensor, reference: Tensor) -> Tensor:
    # Equation 2.
    mean = _mean(outputs)
    return torch.where(is_outlier, repel(mean), mean).mean()


def pixel_loss(heat: Tensor, masks: Tensor) -> Tensor:
    """Loss (N,) of upsampled maps whose ground truth is known (equation 4).

    Args:
        heat: (N, H, W), at least 0.
        masks: (N, H, W) bool, where an image is anomalous; nowhere in a normal one.
    """
    normal = (heat * ~masks).mean((1, 2))
    anomalous = repel((heat * masks).mean((1, 2)))
    return normal + torch.where(masks.any(2).any(1), anomalous, 0.0)


def _log_odds(outputs: Tensor, reference: Tensor) -> Tensor:
    # score 1 − e^−a, so log(score / (1 − score)) = log(1 − e^−a) + a.
    mean = _mean(outputs)
    return mean - repel(mean)


FCDD = DetectorObjective(
    name="fcdd",
    outputs=1,
    bias=True,
    needs_outliers=True,
    loss=_loss,
    log_odds=_log_odds,
    reference=lambda outputs: torch.zeros(0),
    network=FullyConvolutional,
    anomaly_map=anomaly_map,
    pixel_loss=pixel_loss,
)
