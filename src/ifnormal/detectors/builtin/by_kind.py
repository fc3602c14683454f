"""What a built-in detector is trained with where a user names its kind and gives normal images."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from torch import Tensor

from ifnormal.config import DetectorConfig, Objective
from ifnormal.data.setups.given_images import setup_of_images
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.kinds import needs_outliers

_LEAST_SYNTHETIC, _MOST_SYNTHETIC = 1000, 4000
# Their networks are as large as their images, and learn something from every pixel.
_SMALL_BATCHES, _SMALL_BATCH = ("autoencoder", "vae"), 16


def config_of_kind(kind: str, false_alarm_rate: float | None = None) -> DetectorConfig:
    """The recommended options of a kind; the false alarm rate of None is the default one."""
    config = DetectorConfig(objective=cast(Objective, kind))
    if kind in _SMALL_BATCHES:
        config = replace(config, batch_size=_SMALL_BATCH)
    if false_alarm_rate is None:
        return config
    return replace(config, false_alarm_rate=false_alarm_rate)


def setup_for_kind(kind: str, normal: Tensor, outliers: Tensor | None, seed: int) -> AnomalySetup:
    """Images to train a detector of this kind with.

    Args:
        kind: one of `KINDS`.
        normal: (N, C, H, W) uint8 normal images.
        outliers: (M, C, H, W) uint8; None makes synthetic ones. A kind that learns nothing from
            outliers gets a few, for its calibration.
        seed: of the synthetic outliers.

    Raises:
        UserError: see `setup_of_images`.
    """
    several = min(max(2 * len(normal), _LEAST_SYNTHETIC), _MOST_SYNTHETIC)
    synthetic = several if needs_outliers(kind) else 0
    return setup_of_images(normal, seed, outliers=outliers, synthetic=synthetic)
