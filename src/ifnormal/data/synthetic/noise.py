"""Grain: noise and fine regular patterns in a part of the image or the whole of it.

Real defects seldom look like that. But a detector that was not trained on such patterns may call
them normal, and a generator would exploit that.
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
