"""Which network a built-in detector gets: its objective's own, or what suits the pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ifnormal.config import SMALL_SIDE, DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.backbone import Backbone
from ifnormal.detectors.builtin.objective import DetectorObjective
from ifnormal.detectors.builtin.residual import ResidualBackbone


def suited(
    config: DetectorConfig, objective: DetectorObjective, setup: AnomalySetup
) -> DetectorConfig:
    """The same configuration with the network it comes to, so that a saved detector names its own.

    "auto" makes photographs of up to 48 pixels "residual" and everything else "plain", and where
    an objective leaves no choice it is "plain" or, with a network of its own, "auto".
    """
    if objective.network is not Backbone:
        return replace(config, network="auto")
    if not objective.bias:
        return replace(config, network="plain")
    if config.network != "auto":
        return config
    small = max(setup.shape[1:]) <= SMALL_SIDE
    return replace(
        config, network="residual" if small and setup.pictures == "photographs" else "plain"
    )


def network_of(objective: DetectorObjective, config: DetectorConfig) -> Callable[..., Any]:
    """Makes the network of (shape, width, outputs, bias); "auto", undecided, is the plain one."""
    takes_any = objective.network is Backbone and objective.bias
    return ResidualBackbone if takes_any and config.network == "residual" else objective.network
