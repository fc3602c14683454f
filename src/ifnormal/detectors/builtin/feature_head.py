"""FeatureHead: a small network on the features of a frozen one, trained with outlier exposure.

Outlier exposure (Hendrycks et al. 2019) with a pretrained backbone, as in Liznerski et al.,
"Exposing Outlier Exposure", TMLR 2022; here the backbone stays as it is, so that the features of
every image are computed once and training takes seconds.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ifnormal.common.pixels import quantize, to_float
from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.augmentation import augment, is_used
from ifnormal.detectors.builtin.feature_detector import FeatureDetector
from ifnormal.detectors.builtin.objective import DetectorObjective
from ifnormal.detectors.builtin.optimization import minimize

_HIDDEN = 256
_NO_REFERENCE = torch.zeros(0)  # objectives with outliers have none
_CACHED_AS = "means of all stages"
_LEAST_DEVIATION = 1e-3
_LABELLED = 0.25  # of the outliers in a batch, where there are labelled anomalies


class FeatureHead(FeatureDetector):
    """Two linear layers on the means of the maps of every stage.

    The stages together tell photographs apart better than the pooled features alone: AuROC 95.0
    instead of 93.5 on CIFAR-10 (four classes at 128 pixels, one seed). Each feature is standardised
    by its mean and deviation over normal images.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, objective: DetectorObjective, config: DetectorConfig, shape: tuple[int, int, int]
    ) -> None:
        super().__init__(config, shape)
        self.objective, self.needs_outliers = objective, objective.needs_outliers
        width = sum(self.extractor.channels)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.hidden = nn.Sequential(nn.Linear(width, _HIDDEN), nn.ReLU())
        self.outputs = nn.Linear(_HIDDEN, objective.outputs)

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (N,) before calibration, and the hidden layer (N, 256)."""
        hidden = self.hidden(self._standardised(self._features(images)))
        return self.objective.log_odds(self.outputs(hidden), _NO_REFERENCE), hidden

    def fit(self, setup: AnomalySetup, seed: int, log: Path | None = None) -> None:
        """Compute the features, then train the head; see `BuiltinDetector.fit`."""
        rng = torch.Generator().manual_seed(seed)
        features = self.features_of(setup, self._features, _CACHED_AS)
        self.mean = features.mean(0)
        self.deviation = features.std(0).clamp_min(_LEAST_DEVIATION)
        is_augmented = is_used(self.config, len(features))
        normal = self._prepared(features, setup.train_normal, is_augmented, rng)
        outliers, labelled = (
            None
            if images is None
            else self._prepared(self._computed(images), images, is_augmented, rng)
            for images in (setup.outliers, setup.labelled_anomalies)
        )
        assert outliers is not None
        size = self.config.batch_size
        count = size // 2
        known = 0 if labelled is None else round(_LABELLED * count)
        is_outlier = torch.arange(size) >= size - count

        def loss_of_step() -> Tensor:
            batch = [_some(normal, size - count, rng), _some(outliers, count - known, rng)]
            if labelled is not None:
                batch.append(_some(labelled, known, rng))
            outputs = self.outputs(self.hidden(torch.cat(batch)))
            return self.objective.loss(outputs, is_outlier, _NO_REFERENCE)

        head = [*self.hidden.parameters(), *self.outputs.parameters()]
        minimize(loss_of_step, head, self.config, log)

    def _features(self, images: Tensor) -> Tensor:
        """(N, F), without standardisation."""
        maps = self.extractor.maps(images, range(len(self.extractor.channels)))
        return torch.cat([part.mean((2, 3)) for part in maps], 1)

    def _computed(self, images: Tensor) -> Tensor:
        return self.compute(images, self._features, _CACHED_AS)

    def _standardised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation

    def _prepared(
        self, features: Tensor, images: Tensor, is_augmented: bool, rng: torch.Generator
    ) -> Tensor:
        """Standardised features (M, F) of images, perhaps also of an augmented copy of each."""
        if is_augmented:
            varied = [
                quantize(augment(to_float(part), self.config, rng)) for part in images.split(512)
            ]
            features = torch.cat([features, self._computed(torch.cat(varied))])
        return self._standardised(features)


def _some(features: Tensor, count: int, rng: torch.Generator) -> Tensor:
    return features[torch.randint(len(features), (count,), generator=rng)]
