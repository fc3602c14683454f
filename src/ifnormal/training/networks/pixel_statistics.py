"""PixelStatistics: mean and deviation of every pixel, shown to the generator beside the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FAR = 5.0
_LEAST_DEVIATION = 0.02


class PixelStatistics(nn.Module):
    """Mean and standard deviation of every pixel over the normal images.

    In aligned images they show what deviates in a place and what belongs there; convolutions would
    need many more images to learn it. In images that are not aligned they do no harm.

    Args:
        shape: (C, H, W) of the images.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full(shape, 0.5))
        self.register_buffer("deviation", torch.full(shape, 0.25))

    def fit(self, normal: Tensor) -> None:
        """Compute both from (N, C, H, W) normal images in [0, 1]."""
        self.mean.copy_(normal.mean(0))
        self.deviation.copy_(normal.std(0, correction=0).clamp_min(_LEAST_DEVIATION))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, 3C, H, W): the images, the mean, and the standard score.

        The standard score, (x - mean) / deviation, is clipped to ±5 and scaled to [-1, 1].
        """
        mean, deviation = self.mean.to(images.dtype), self.deviation.to(images.dtype)
        score = ((images - mean) / deviation).clamp(-_FAR, _FAR) / _FAR
        return torch.cat([images, mean.expand_as(images), score], 1)
