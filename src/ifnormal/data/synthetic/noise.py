"""Grain: noise and fine regular patterns, in a part of the image or all over it.

Real defects seldom look like that. But to a detector that never saw such patterns they may pass for
anything, even for what makes an image normal, and a generator would find them first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.data.synthetic import shapes


def grain(image: Tensor, donor: Tensor, rng: torch.Generator) -> Tensor:
    """Pixel noise, or a pattern that repeats every two to eight pixels; (C, H, W) in [0, 1]."""
    channels, height, width = image.shape
    if shapes.chance(rng, 0.4):
        noise = torch.randn(image.shape, generator=rng)
    else:
        rows, columns = torch.randint(2, 9, (2,), generator=rng).tolist()
        tile = torch.randn(channels, rows, columns, generator=rng)
        noise = tile.repeat(1, -(-height // rows), -(-width // columns))[:, :height, :width]
    if shapes.chance(rng, 0.5):
        noise = noise.mean(0, keepdim=True) * channels**0.5
    if shapes.chance(rng, 0.5):
        noise = noise * shapes.blob(rng, image, (0.08, 0.3))
    return image + shapes.uniform(rng, 0.05, 0.25) * noise
