"""Detectors whose reason is known by hand, images for them, and networks small enough for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.config import FitConfig, GeneratorConfig, Weights
from ifnormal.detectors.detector import Detector

COLOR = (3, 16, 16)
GREY = (1, 16, 16)
PATCH = (slice(4, 8), slice(8, 12))

EVERY_TERM = Weights(**dict.fromkeys(Weights.__dataclass_fields__, 1.0))
TINY = FitConfig(
    steps=7,
    batch_size=8,
    generator=GeneratorConfig(width=4, outer_blocks=1, inner_blocks=1),
    discriminator_width=4,
    precision="32-true",
    outlier_quality="off",
)


def tiny(**options: Any) -> FitConfig:
    """TINY with some options changed."""
    return replace(TINY, **options)


class KnownDetector(Detector):
    """Log-odds ⟨weights, image⟩ − offset.

    Its features are the means of the image's quadrants. Set `broken` and its log-odds are NaN.
    """

    threshold = 0.5

    def __init__(self, weights: Tensor, offset: float = 0.0) -> None:
        channels, height, width = weights.shape
        self.shape = (channels, height, width)
        self.weights, self.offset = weights, offset
        self.broken = False

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        log_odds = (images.float() * self.weights).sum((1, 2, 3)) - self.offset
        features = F.adaptive_avg_pool2d(images.float(), 2).flatten(1)
        return log_odds * (torch.nan if self.broken else 1.0), features

    def smallest_edit(self, images: Tensor) -> Tensor:
        """The accepted images nearest to these in the Euclidean sense, where no pixel clamps."""
        excess = self.inspect(images)[0].relu() / self.weights.square().sum()
        return images - excess[:, None, None, None] * self.weights


def mean_color(shape: tuple[int, int, int] = COLOR, gain: float = 12.0) -> KnownDetector:
    """Red is anomalous, blue is normal: gain · (mean red − mean blue)."""
    weights = torch.zeros(shape)
    weights[0], weights[2] = 1, -1
    return KnownDetector(weights * gain / weights[0].numel())


def bright_patch(shape: tuple[int, int, int] = GREY, gain: float = 8.0) -> KnownDetector:
    """Anomalous where one patch is brighter than middle grey: gain · (mean of the patch − ½)."""
    weights = torch.zeros(shape)
    weights[:, PATCH[0], PATCH[1]] = 1
    return KnownDetector(weights * gain / weights.sum(), offset=gain / 2)


def squares(count: int, channel: int, shape: tuple[int, int, int] = COLOR, seed: int = 0) -> Tensor:
    """(N, C, H, W) uint8: a square of one channel's colour, anywhere, on dark noise."""
    rng = torch.Generator().manual_seed(seed)
    side = shape[1] // 2
    images = torch.randint(0, 20, (count, *shape), generator=rng)
    places = torch.randint(0, side, (count, 2), generator=rng).tolist()
    light = torch.randint(170, 250, (count,), generator=rng)
    for image, (top, left), value in zip(images, places, light, strict=True):
        image[channel % shape[0], top : top + side, left : left + side] = value
    return images.to(torch.uint8)


def blue(count: int = 24, seed: int = 0) -> Tensor:
    """Images that `mean_color` calls normal."""
    return squares(count, 2, seed=seed)


def red(count: int = 24, seed: int = 1) -> Tensor:
    """Images that `mean_color` flags."""
    return squares(count, 0, seed=seed)
