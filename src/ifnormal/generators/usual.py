"""Usual: what is normal in each place of an image, as a further input of the generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FAR = 5.0
_LEAST_DEVIATION = 0.02


class Usual(nn.Module):
    """Mean and deviation of every pixel of the normal images.

    Where things lie in the same place, this shows at once what is odd and what belongs there, which
    convolutions would need many more images to learn. Where they do not, it does no harm.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full(shape, 0.5))
        self.register_buffer("deviation", torch.full(shape, 0.25))

    def learn(self, normal: Tensor) -> None:
        """Take both from (N, C, H, W) normal images in [0, 1]."""
        self.mean.copy_(normal.mean(0))
        self.deviation.copy_(normal.std(0, correction=0).clamp_min(_LEAST_DEVIATION))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, 3C, H, W): themselves, what is usual, how far they are off."""
        mean, deviation = self.mean.to(images.dtype), self.deviation.to(images.dtype)
        off = ((images - mean) / deviation).clamp(-_FAR, _FAR) / _FAR
        return torch.cat([images, mean.expand_as(images), off], 1)
