"""Calibration: a strictly increasing map of log-odds, so that scores spread over [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_ANCHOR = 3.0


@dataclass(frozen=True)
class Calibration:
    """log-odds -> (log-odds − shift) / scale. Ranks, and so every AuROC, stay as they are."""

    shift: float = 0.0
    scale: float = 1.0

    def __call__(self, log_odds: Tensor) -> Tensor:
        """Calibrated log-odds, same shape."""
        return (log_odds - self.shift) / self.scale


def calibrate(normal: Tensor, outliers: Tensor | None) -> Calibration:
    """Fit the map on held-out log-odds (N,).

    A trained classifier is nearly binary: its log-odds are so large that no score lies between 0
    and 1, and half-way targets α mean nothing. With outliers, the median normal image therefore
    gets log-odds −3 (score 0.05) and the median outlier +3 (0.95). Without, the median normal image
    gets −2.2 (0.1) and the 95th percentile of the normal images 0 (0.5).
    """
    middle = normal.median()
    if outliers is not None:
        high, low_value, high_value = outliers.median(), -_ANCHOR, _ANCHOR
    else:
        high, low_value, high_value = normal.quantile(0.95), -2.2, 0.0
    scale = float((high - middle) / (high_value - low_value))
    if scale <= 0:  # The detector tells nothing apart; leave its scores as they are.
        return Calibration()
    return Calibration(shift=float(middle) - low_value * scale, scale=scale)


def threshold_at(normal_scores: Tensor, false_alarm_rate: float) -> float:
    """The score that only a share `false_alarm_rate` of held-out normal images exceed."""
    return float(torch.quantile(normal_scores.double(), 1 - false_alarm_rate))
