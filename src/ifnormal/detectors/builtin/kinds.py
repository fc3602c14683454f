"""The kinds of built-in detectors, by the names of `DetectorConfig.objective`.

A new kind is one file and one line here, or in `OBJECTIVES` where it is an objective only.
"""

from __future__ import annotations

from pathlib import Path

from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors import OBJECTIVES
from ifnormal.detectors.builtin.autoencoder import Autoencoder
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.feature_head import FeatureHead
from ifnormal.detectors.builtin.mvg import Mvg
from ifnormal.detectors.builtin.networks import resolve_network
from ifnormal.detectors.builtin.padim import Padim
from ifnormal.detectors.builtin.patchcore import PatchCore
from ifnormal.detectors.builtin.simplenet import SimpleNet
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.builtin.vae import Vae

CLASSES: dict[str, type[BuiltinDetector]] = {
    "mvg": Mvg,
    "padim": Padim,
    "patchcore": PatchCore,
    "simplenet": SimpleNet,
    "autoencoder": Autoencoder,
    "vae": Vae,
}
KINDS: tuple[str, ...] = (*OBJECTIVES, *CLASSES)


def needs_outliers(kind: str) -> bool:
    """Whether outlier exposure is part of the training of this kind."""
    if kind in OBJECTIVES:
        return OBJECTIVES[kind].needs_outliers
    return CLASSES[kind].needs_outliers


def new_detector(config: DetectorConfig, shape: tuple[int, int, int]) -> BuiltinDetector:
    """A detector of the kind that the configuration names, not trained yet."""
    if config.objective in OBJECTIVES:
        kind = FeatureHead if config.network == "features" else TrainedDetector
        return kind(OBJECTIVES[config.objective], config, shape)
    return CLASSES[config.objective](config, shape)


def resolved(config: DetectorConfig, setup: AnomalySetup) -> DetectorConfig:
    """The same configuration without an "auto" that depends on the images."""
    if config.objective in OBJECTIVES:
        return resolve_network(config, OBJECTIVES[config.objective], setup)
    return config


def load_builtin(folder: Path) -> BuiltinDetector:
    """Read what `BuiltinDetector.save` wrote, frozen.

    Raises:
        UserError: see `BuiltinDetector.read`.
    """
    return BuiltinDetector.read(folder, new_detector)
