"""DetectorObjective: all that tells one kind of built-in detector from another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


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
    """

    name: str
    outputs: int
    bias: bool
    needs_outliers: bool
    loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    log_odds: Callable[[Tensor, Tensor], Tensor]
    reference: Callable[[Tensor], Tensor]
