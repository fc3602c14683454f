"""TrainedDetector: a backbone, its objective, its calibration and its threshold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from ifnormal.common.storage import load_tensors, save_tensors
from ifnormal.config import DetectorConfig
from ifnormal.detectors.builtin.calibration import Calibration
from ifnormal.detectors.builtin.fully_convolutional import FullyConvolutional
from ifnormal.detectors.builtin.networks import network_of
from ifnormal.detectors.builtin.objective import DetectorObjective
from ifnormal.detectors.builtin.residual import ResidualBackbone
from ifnormal.detectors.detector import Detector


class TrainedDetector(nn.Module, Detector):
    """A built-in detector.

    Attributes:
        shape: (C, H, W) of the images it takes, float in [0, 1].
        threshold: scores above it are flagged as anomalous.
    """

    reference: Tensor

    def __init__(
        self, objective: DetectorObjective, config: DetectorConfig, shape: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.objective, self.config, self.shape = objective, config, shape
        network = network_of(objective, config)
        self.backbone = network(shape, config.width, objective.outputs, objective.bias)
        self.calibration, self.threshold = Calibration(), 0.5
        self.register_buffer("reference", torch.zeros(0))

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Calibrated log-odds (N,) and penultimate features (N, F), float32."""
        outputs, features = self.backbone(images)
        raw = self.objective.log_odds(outputs.float(), self.reference)
        return self.calibration(raw), features.float()

    @property
    def heatmap(self) -> Callable[[Tensor], Tensor] | None:  # type: ignore[override]
        """(N, C, H, W) images in [0, 1] -> heatmaps (N, H, W), float32 and at least 0.

        None where the objective has no heatmap. A heatmap is the map whose mean is the score before
        calibration, upsampled over the receptive fields of its units.
        """
        return None if self.objective.anomaly_map is None else self._heatmap

    def _heatmap(self, images: Tensor) -> Tensor:
        return self.heat_of(self.backbone(images)[0])

    def heat_of(self, outputs: Tensor) -> Tensor:
        """Heatmaps (N, H, W) of maps (N, O, h, w), of an objective that has an `anomaly_map`."""
        assert self.objective.anomaly_map is not None
        heat: Tensor = self.backbone.upsample(self.objective.anomaly_map(outputs.float()))
        return heat

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N,) in [0, 1] of (N, C, H, W) images in [0, 1]."""
        return self.inspect(images)[0].sigmoid()

    def freeze(self) -> TrainedDetector:
        """Evaluation mode, no gradient to the weights; itself."""
        if isinstance(self.backbone, ResidualBackbone | FullyConvolutional):
            self.backbone.fold()
        return self.eval().requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write `detector.json` and its weights into `folder`."""
        facts = {
            "format": "ifnormal.detector",
            "version": 1,
            "config": asdict(self.config),
            "shape": self.shape,
            "calibration": asdict(self.calibration),
            "threshold": self.threshold,
        }
        save_tensors(folder, "detector", self.state_dict(), facts)

    @classmethod
    def load(cls, folder: Path) -> TrainedDetector:
        """Read what `save` wrote, frozen.

        Raises:
            UserError: a file is missing or damaged.
        """
        from ifnormal.detectors import OBJECTIVES

        tensors, facts = load_tensors(folder, "detector")
        config = DetectorConfig(**facts["config"])
        channels, height, width = facts["shape"]
        detector = cls(OBJECTIVES[config.objective], config, (channels, height, width))
        detector.freeze()
        detector.reference = tensors["reference"]
        detector.load_state_dict(tensors)
        detector.calibration = Calibration(**facts["calibration"])
        detector.threshold = facts["threshold"]
        return detector
