"""The network of a built-in detector: its objective's own, or the one that suits the images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ifnormal.config import SMALL_SIDE, DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.backbone import Backbone
from ifnormal.detectors.builtin.objective import DetectorObjective
from ifnormal.detectors.builtin.residual import ResidualBackbone


def resolve_network(
    config: DetectorConfig, objective: DetectorObjective, setup: AnomalySetup
) -> DetectorConfig:
    """The same configuration with the network that "auto" stands for, as a detector is saved.

    It is "residual" for photographs of up to 48 pixels, and "plain" otherwise. An objective without
    bias terms always has "plain", and one with a network of its own always has "auto".
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
    """The class of the network, called with (shape, width, outputs, bias); "auto" is plain."""
    takes_any = objective.network is Backbone and objective.bias
    return ResidualBackbone if takes_any and config.network == "residual" else objective.network
