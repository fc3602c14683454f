"""DetectorObjective: all that tells one kind of built-in detector from another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ifnormal.detectors.builtin.backbone import Backbone


@dataclass(frozen=True)
class DetectorObjective:
    """How a backbone's outputs are trained and read. One file an objective; see `bce.py`.

    Attributes:
        name: the name on the command line.
        outputs: width of the backbone's head.
        bias: whether the backbone has bias terms.
        needs_outliers: whether outlier exposure is part of training.
        loss: (outputs (N, O), is_outlier (N,) bool, reference) -> scalar to minimise.
        log_odds: (outputs (N, O), reference) -> (N,) log-odds of the score, before calibration.
        reference: normal outputs (N, O) -> tensor that the two above are given. Called once,
            before the training.
        network: (shape, width, outputs, bias) -> a module that takes images in [0, 1] to outputs
            and (N, F) features, with `get_used_to` for normal images; see `backbone.py`.
        anomaly_map: maps (N, O, h, w) -> (N, h, w), at least 0, the detector's own heatmap before
            it is upsampled; None where outputs are no maps. The network then has an `upsample`,
            (N, h, w) -> (N, H, W).
        pixel_loss: (upsampled map (N, H, W), masks (N, H, W) bool) -> (N,), beside `loss` where
            it is known of some images where they are anomalous.
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
