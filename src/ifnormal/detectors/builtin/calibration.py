"""Calibration: an increasing linear map of log-odds, after which scores spread over [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_ANCHOR = 3.0


@dataclass(frozen=True)
class Calibration:
    """log-odds -> (log-odds − shift) / scale; ranks, and so every AuROC, do not change."""

    shift: float = 0.0
    scale: float = 1.0

    def __call__(self, log_odds: Tensor) -> Tensor:
        """Calibrated log-odds, same shape."""
        return (log_odds - self.shift) / self.scale


def calibrate(normal: Tensor, outliers: Tensor | None) -> Calibration:
    """Fit the map on held-out log-odds (N,).

    The log-odds of a trained classifier are so large that its scores are nearly 0 or 1, and targets
    α in between would mean nothing. With outliers, the median normal image therefore gets log-odds
    −3 (score 0.05) and the median outlier +3 (0.95). Without, the median normal image gets −2.2
    (0.1) and the 95th percentile of the normal images 0 (0.5).
    """
    middle = normal.median()
    if outliers is not None:
        high, low_value, high_value = outliers.median(), -_ANCHOR, _ANCHOR
    else:
        high, low_value, high_value = normal.quantile(0.95), -2.2, 0.0
    scale = float((high - middle) / (high_value - low_value))
    if scale <= 0:  # outliers score no higher than normal images
        return Calibration()
    return Calibration(shift=float(middle) - low_value * scale, scale=scale)


def threshold_at(normal_scores: Tensor, false_alarm_rate: float) -> float:
    """The score that a share `false_alarm_rate` of held-out normal images exceeds."""
    return float(torch.quantile(normal_scores.double(), 1 - false_alarm_rate))
