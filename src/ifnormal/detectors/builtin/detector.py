"""BuiltinDetector: the base class of the detectors that ifnormal trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn
from typing_extensions import Self

from ifnormal.common.storage import load_tensors, save_tensors
from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.calibration import Calibration, threshold_at
from ifnormal.detectors.detector import Detector

Shape = tuple[int, int, int]
T = TypeVar("T", bound="BuiltinDetector")


class BuiltinDetector(nn.Module, Detector, ABC):
    """A detector of raw scores, any range, that `train_detector` trains and calibrates.

    A subclass defines `fit` and `raw`; `calibrated_threshold` where it has a better way of setting
    a threshold than the quantile of scores.

    Attributes:
        config: how it was trained.
        shape: (C, H, W) of the images it takes, float in [0, 1].
        calibration: from raw scores to log-odds.
        threshold: scores above it are flagged as anomalous.
        needs_outliers: whether outlier exposure is part of its training.
    """

    needs_outliers: bool = False

    def __init__(self, config: DetectorConfig, shape: Shape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.calibration, self.threshold = Calibration(), 0.5

    @abstractmethod
    def fit(self, setup: AnomalySetup, seed: int, log: Path | None = None) -> None:
        """Train on the training images of a setup.

        Args:
            setup: training images and outlier exposure.
            seed: makes the run repeatable.
            log: losses go here, one JSON object a line.

        Raises:
            UserError: nothing can be learned from the images.
            DivergenceError: the loss became NaN or infinite.
        """

    @abstractmethod
    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Raw scores (N,), high for anomalies, and penultimate features (N, F), float32."""

    def calibrated_threshold(self, normal: Tensor) -> float:
        """The threshold in [0, 1], of the raw scores (N,) of held-out normal images."""
        return threshold_at(self.calibration(normal).sigmoid(), self.config.false_alarm_rate)

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Calibrated log-odds (N,) and penultimate features (N, F), float32."""
        raw, features = self.raw(images)
        return self.calibration(raw), features

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N,) in [0, 1] of (N, C, H, W) images in [0, 1]."""
        return self.inspect(images)[0].sigmoid()

    def freeze(self) -> Self:
        """Evaluation mode, no gradient to the weights; itself."""
        return self.eval().requires_grad_(False)

    def tensors(self) -> Mapping[str, Tensor]:
        """What `save` writes and `restore` takes."""
        return self.state_dict()

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Take what was saved, and freeze."""
        self.freeze()
        self.load_state_dict(dict(tensors))

    def more_facts(self) -> Mapping[str, Any]:
        """Facts that `save` writes beside those of every detector; JSON-compatible."""
        return {}

    def save(self, folder: Path) -> None:
        """Write `detector.json` and its weights into `folder`."""
        facts = {
            "format": "ifnormal.detector",
            "version": 1,
            "config": asdict(self.config),
            "shape": self.shape,
            "calibration": asdict(self.calibration),
            "threshold": self.threshold,
            **self.more_facts(),
        }
        save_tensors(folder, "detector", self.tensors(), facts)

    @staticmethod
    def read(folder: Path, create: Callable[[DetectorConfig, Shape], T]) -> T:
        """What `save` wrote, frozen.

        Args:
            folder: with `detector.json`.
            create: makes a detector that is not trained.

        Raises:
            UserError: a file is missing or damaged, or the network of its features has changed.
        """
        tensors, facts = load_tensors(folder, "detector")
        channels, height, width = facts["shape"]
        detector = create(DetectorConfig(**facts["config"]), (channels, height, width))
        detector.restore(tensors, facts)
        detector.calibration = Calibration(**facts["calibration"])
        detector.threshold = facts["threshold"]
        return detector
