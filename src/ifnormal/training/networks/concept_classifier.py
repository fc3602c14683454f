"""ConceptClassifier R: reads the pair (before, after) and tells which concept k made the edit."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PixelConceptClassifier(nn.Module):
    """R on the pixels of the pair, as in the paper. Sees (N, 2C, H, W)."""

    def __init__(self, channels: int, concepts: int, noise: float) -> None:
        super().__init__()
        self.noise = noise
        self.layers = nn.Sequential(
            nn.Conv2d(8 * channels, 32, 3, 1, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(64, 96, 4, 2, 1),
            nn.LeakyReLU(0.1),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(384, concepts),
        )

    def forward(
        self, before: Tensor, after: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Logits (N, K) for images (N, C, H, W); training adds noise drawn from `generator`."""
        pair = torch.cat([before, after], 1)
        return self.layers(F.pixel_unshuffle(_noisy(self, pair, generator), 2))


class FeatureConceptClassifier(nn.Module):
    """R on the detector's own penultimate features of the pair.

    On pixels R is content with two tints of one edit. The detector's features tell its *reasons*
    apart. They are standardised with the mean and deviation of the training images' features.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, concepts: int, noise: float) -> None:
        super().__init__()
        self.noise = noise
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.layers = nn.Sequential(
            nn.Linear(2 * len(mean), 128), nn.LeakyReLU(0.1), nn.Linear(128, concepts)
        )

    def standardize(self, features: Tensor) -> Tensor:
        """(N, F) features with zero mean and unit deviation over the training images."""
        return (features - self.mean) / self.deviation

    def forward(
        self, before: Tensor, after: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Logits (N, K) for features (N, F); training adds noise drawn from `generator`."""
        pair = torch.cat([self.standardize(before), self.standardize(after)], 1)
        return self.layers(_noisy(self, pair, generator))


ConceptClassifier = PixelConceptClassifier | FeatureConceptClassifier


def _noisy(
    classifier: ConceptClassifier, pair: Tensor, generator: torch.Generator | None
) -> Tensor:
    if not classifier.training or classifier.noise == 0:
        return pair
    # Drawn on the CPU so that a run is the same wherever its random state is restored.
    noise = torch.randn(pair.shape, generator=generator).to(pair.device)
    return pair + classifier.noise * noise
