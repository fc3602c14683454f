"""BCE with outlier exposure (Hendrycks et al. 2019): a binary classifier, normal or outlier."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.detectors.builtin.objective import DetectorObjective


def _loss(outputs: Tensor, is_outlier: Tensor, reference: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs[:, 0], is_outlier.to(outputs.dtype))


def _log_odds(outputs: Tensor, reference: Tensor) -> Tensor:
    return outputs[:, 0]


BCE = DetectorObjective(
    name="bce",
    outputs=1,
    bias=True,
    needs_outliers=True,
    loss=_loss,
    log_odds=_log_odds,
    reference=lambda outputs: torch.zeros(0),
)
