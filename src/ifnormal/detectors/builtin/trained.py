"""TrainedDetector: a backbone that is trained by an objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from ifnormal.common.compute import channels_last, make_fabric
from ifnormal.common.pixels import to_float
from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.batch import Batch, draw_batch
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.fully_convolutional import FullyConvolutional
from ifnormal.detectors.builtin.networks import network_of
from ifnormal.detectors.builtin.objective import DetectorObjective
from ifnormal.detectors.builtin.optimization import minimize
from ifnormal.detectors.builtin.residual import ResidualBackbone

_BY_PIXELS = 0.1


class TrainedDetector(BuiltinDetector):
    """A built-in detector whose network is trained by gradient descent; see `DetectorObjective`."""

    reference: Tensor

    def __init__(
        self, objective: DetectorObjective, config: DetectorConfig, shape: tuple[int, int, int]
    ) -> None:
        super().__init__(config, shape)
        self.objective, self.needs_outliers = objective, objective.needs_outliers
        network = network_of(objective, config)
        self.backbone = network(shape, config.width, objective.outputs, objective.bias)
        self.register_buffer("reference", torch.zeros(0))

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (N,) before calibration, and penultimate features (N, F), float32."""
        outputs, features = self.backbone(images)
        return self.objective.log_odds(outputs.float(), self.reference), features.float()

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

    def freeze(self) -> Self:
        """Evaluation mode, no gradient to the weights; itself."""
        if isinstance(self.backbone, ResidualBackbone | FullyConvolutional):
            self.backbone.fold()
        return super().freeze()

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Take what was saved, and freeze."""
        self.reference = tensors["reference"]
        super().restore(tensors, facts)

    @classmethod
    def load(cls, folder: Path) -> TrainedDetector:
        """Read what `save` wrote, frozen; `load_detector` reads detectors of every kind.

        Raises:
            UserError: a file is missing or damaged.
        """
        from ifnormal.detectors import OBJECTIVES

        return cls.read(
            folder, lambda config, shape: cls(OBJECTIVES[config.objective], config, shape)
        )

    def fit(self, setup: AnomalySetup, seed: int, log: Path | None = None) -> None:
        """Train the backbone; see `BuiltinDetector.fit`."""
        objective, config, fabric = self.objective, self.config, make_fabric()
        generator = torch.Generator().manual_seed(seed)
        self.to(fabric.device)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        order = torch.randperm(len(setup.train_normal), generator=generator)
        sample = to_float(setup.train_normal[order[:1024]]).to(fabric.device)
        with torch.no_grad():
            self.backbone.fit_statistics(sample)
            outputs, _ = self.backbone(sample)
            self.reference = objective.reference(outputs).to(fabric.device)

        def loss_of_step() -> Tensor:
            batch = draw_batch(setup, objective, config, generator).to(fabric.device)
            with fabric.autocast():
                outputs, _ = self.backbone(channels_last(batch.images))
            return self._loss(outputs.float(), batch)

        minimize(loss_of_step, self.parameters(), config, log, fabric.backward)
        self.cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def _loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The objective's loss, and a tenth of it by pixels where some images have masks.

        FCDD is trained by pixels alone there. With synthetic anomalies that made the detector worse
        (screws: AuROC 65 instead of 91) and the heatmap hardly better.
        """
        loss = self.objective.loss(outputs, batch.is_outlier, self.reference)
        if self.objective.pixel_loss is None or batch.masks is None:
            return loss
        by_pixels = self.objective.pixel_loss(self.heat_of(outputs), batch.masks).mean()
        return (1 - _BY_PIXELS) * loss + _BY_PIXELS * by_pixels
