"""DetectorObjective: what differs between kinds of built-in detectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ifnormal.detectors.builtin.backbone import Backbone


@dataclass(frozen=True)
class DetectorObjective:
    """How the outputs of a backbone are trained and turned into scores; see `bce.py`.

    Attributes:
        name: the name on the command line.
        outputs: width of the backbone's head.
        bias: whether the backbone has bias terms.
        needs_outliers: whether outlier exposure is part of training.
        loss: (outputs (N, O), is_outlier (N,) bool, reference) -> scalar to minimise.
        log_odds: (outputs (N, O), reference) -> (N,) log-odds of the score, before calibration.
        reference: normal outputs (N, O) -> the tensor that `loss` and `log_odds` are given. It is
            called once, before the training.
        network: (shape, width, outputs, bias) -> a module from images in [0, 1] to outputs and
            (N, F) features, with `fit_statistics` for normal images; see `backbone.py`.
        anomaly_map: maps (N, O, h, w) -> (N, h, w), at least 0, the detector's own heatmap before
            upsampling; None where outputs are no maps. The network then has an `upsample`,
            (N, h, w) -> (N, H, W).
        pixel_loss: (upsampled map (N, H, W), masks (N, H, W) bool) -> (N,), used beside `loss`
            where some images have masks.
    """

    name: str
    outputs: int
    bias: bool
    needs_outliers: bool
    loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    log_odds: Callable[[Tensor, Tensor], Tensor]
    reference: Callable[[Tensor], Tensor]
    network: Callable[[tuple[int, int, int], int, int, bool], Any] = Backbone
    anomaly_map: Callable[[Tensor], Tensor] | None = None
    pixel_loss: Callable[[Tensor, Tensor], Tensor] | None = None
