"""Training of the built-in detectors, readable from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ifnormal.common.errors import DivergenceError
from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.calibration import calibrate
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.feature_detector import shared_features
from ifnormal.detectors.builtin.kinds import new_detector, resolved
from ifnormal.detectors.detector import in_batches
from ifnormal.detectors.outlier_rating import with_useful_outliers


def train_detector(
    setup: AnomalySetup, config: DetectorConfig, seed: int, log: Path | None = None
) -> BuiltinDetector:
    """Train, calibrate and freeze a detector; the threshold comes from held-out normal images.

    Args:
        setup: training images, outlier exposure and held-out images.
        config: the objective and how long to train it.
        seed: makes the run repeatable.
        log: losses go here, one JSON object a line.

    Raises:
        UserError: see `BuiltinDetector.fit` and `with_useful_outliers`.
        DivergenceError: the loss, a weight or a score became NaN or infinite.
    """
    config = resolved(config, setup)
    if config.useful_outliers:
        setup = with_useful_outliers(setup)
    torch.manual_seed(seed)
    detector = new_detector(config, setup.shape)
    return _trained(detector, setup, seed, log)


def train_detectors(
    setup: AnomalySetup, configs: Sequence[DetectorConfig], seed: int
) -> list[BuiltinDetector]:
    """Train several detectors on the same images, whose features are computed once.

    Each is as `train_detector` would train it. All features of all images are in memory.

    Raises:
        UserError, DivergenceError: see `train_detector`.
    """
    detectors, states = [], []
    for config in configs:
        torch.manual_seed(seed)
        detectors.append(new_detector(resolved(config, setup), setup.shape))
        states.append(torch.get_rng_state())
    with shared_features(detectors):
        for detector, state in zip(detectors, states, strict=True):
            torch.set_rng_state(state)
            _trained(detector, setup, seed)
    return detectors


def _trained(
    detector: BuiltinDetector, setup: AnomalySetup, seed: int, log: Path | None = None
) -> BuiltinDetector:
    detector.fit(setup, seed, log)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in detector.tensors().values()):
        raise DivergenceError(
            f"A weight of the {detector.config.objective} detector became NaN or infinite; "
            "lower its learning_rate."
        )
    detector.freeze()
    _calibrate(detector, setup)
    return detector


def _calibrate(detector: BuiltinDetector, setup: AnomalySetup) -> None:
    """Calibrate the scores of a detector and set its threshold, on held-out images."""

    def raw(images: Tensor) -> Tensor:
        return detector.raw(images)[0]

    normal = in_batches(raw, setup.validation_normal)
    if not bool(torch.isfinite(normal).all()):
        raise DivergenceError(
            f"The {detector.config.objective} detector's scores became NaN or infinite; "
            "lower its learning_rate."
        )
    # A detector trained without outliers uses them as well, as they only set the scale of scores.
    outliers = in_batches(raw, setup.validation_outliers)
    detector.calibration = calibrate(normal, outliers)
    detector.threshold = detector.calibrated_threshold(normal)
