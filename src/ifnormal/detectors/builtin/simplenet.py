"""SimpleNet: a discriminator of patch features against the same features with noise.

Liu, Zhou, Xu, Wang, "SimpleNet: A Simple Network for Image Anomaly Detection and Localization",
CVPR 2023.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.feature_detector import PatchDetector
from ifnormal.detectors.builtin.optimization import minimize

_NOISE = 0.1  # deviation, in deviations of a feature
_MARGIN = 0.5  # th⁺ and −th⁻ of equation 6
_SLOPE = 0.2
_PER_IMAGE = 16  # patches of an image in a batch
_LEAST_DEVIATION = 0.1  # of the mean one, for features that hardly vary


class SimpleNet(PatchDetector):
    """A linear adapter and a discriminator of two layers, trained on patches of normal images.

    Anomalies to train with are normal features with Gaussian noise. Features are standardised by
    their mean and deviation over normal patches, so that the noise does not depend on the units of
    the extractor. A batch of N has 16 random normal patches for each of N / 2 images, and as many
    with noise.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: DetectorConfig, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        width = sum(self.extractor.channels[stage] for stage in self.extractor.middle)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.adapter = nn.Linear(width, width)
        self.discriminator = nn.Sequential(
            nn.Linear(width, width), nn.LeakyReLU(_SLOPE), nn.Linear(width, 1)
        )

    def fit(self, setup: AnomalySetup, seed: int, log: Path | None = None) -> None:
        """Compute the features once, then train on them; see `BuiltinDetector.fit`."""
        patches = self.normal_patches(setup, seed).flatten(2).mT.flatten(0, 1)
        deviation = patches.std(0)
        self.mean = patches.mean(0)
        self.deviation = deviation.clamp_min(_LEAST_DEVIATION * float(deviation.mean()))
        rng = torch.Generator().manual_seed(seed)
        count = self.config.batch_size // 2 * _PER_IMAGE

        def loss_of_step() -> Tensor:
            chosen = patches[torch.randint(len(patches), (count,), generator=rng)]
            adapted = self._adapted(chosen)
            noise = _NOISE * torch.randn(adapted.shape, generator=rng)
            return truncated_loss(self.discriminator(adapted), self.discriminator(adapted + noise))

        trained = [*self.adapter.parameters(), *self.discriminator.parameters()]
        minimize(loss_of_step, trained, self.config, log)

    def distances(self, patches: Tensor) -> Tensor:
        """Scores (N, h, w) of patch features (N, F, h, w): the softplus of minus their normality.

        The paper takes minus the normality itself (equation 8), in the same order but negative.
        """
        normality = self.discriminator(self._adapted(patches.flatten(2).mT))[..., 0]
        return F.softplus(-normality).unflatten(1, patches.shape[2:])

    def _adapted(self, patches: Tensor) -> Tensor:
        """Adapted features (..., F) of patches (..., F)."""
        adapted: Tensor = self.adapter((patches - self.mean) / self.deviation)
        return adapted


def truncated_loss(normal: Tensor, noisy: Tensor) -> Tensor:
    """The truncated ℓ1 loss (equation 6) of the normality of patches, a scalar."""
    return (_MARGIN - normal).relu().mean() + (_MARGIN + noisy).relu().mean()
