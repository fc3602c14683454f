"""Deep SVDD (Ruff et al. 2018): distance to a fixed centre, trained on normal images alone."""

from __future__ import annotations

from torch import Tensor

from ifnormal.detectors.builtin.objective import DetectorObjective

_TINY = 1e-9


def squared_distance(outputs: Tensor, centre: Tensor) -> Tensor:
    """Squared Euclidean distance (N,) of (N, O) outputs to the centre (O,)."""
    return (outputs.float() - centre).square().sum(1)


def _loss(outputs: Tensor, is_outlier: Tensor, reference: Tensor) -> Tensor:
    return squared_distance(outputs, reference).mean()


def _log_odds(outputs: Tensor, reference: Tensor) -> Tensor:
    # The logarithm of the distance: unbounded both ways, and calibration then makes the score
    # d^a / (d^a + s^a), which spreads over [0, 1] and keeps a gradient far from normal.
    return (squared_distance(outputs, reference) + _TINY).log()


DSVDD = DetectorObjective(
    name="dsvdd",
    outputs=64,
    bias=False,
    needs_outliers=False,
    loss=_loss,
    log_odds=_log_odds,
    reference=lambda outputs: outputs.float().mean(0),
)
