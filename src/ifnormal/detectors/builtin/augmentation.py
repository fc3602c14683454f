"""Mild augmentation of few training images, against overfitting.

Normal images and outliers are augmented alike, so that it does not tell them apart.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.config import DetectorConfig

_FEW = 2000
_SHIFT = 0.04  # of half a side


def is_used(config: DetectorConfig, normal: int) -> bool:
    """Whether to augment: as configured or, for "auto", with fewer than 2,000 normal images."""
    return normal < _FEW if config.augment == "auto" else config.augment == "on"


def augment(images: Tensor, config: DetectorConfig, rng: torch.Generator) -> Tensor:
    """Rotate, resize, shift and flip each image, and change its brightness and contrast.

    Args:
        images: (N, C, H, W) float in [0, 1].
        config: how much.
        rng: draws the parameters of each image.

    Returns:
        (N, C, H, W) in [0, 1]; border pixels are repeated beyond the border.
    """
    count, _, height, width = images.shape

    def within(reach: float) -> Tensor:
        return (2 * torch.rand(count, generator=rng) - 1) * reach

    def sign(mirrored: bool) -> Tensor:
        flipped = torch.rand(count, generator=rng) < (0.5 if mirrored else 0.0)
        return torch.where(flipped, -1.0, 1.0)

    angle, scale = within(math.radians(config.turn)), torch.exp(within(config.resize))
    across = sign(config.flip in ("horizontal", "both")) / scale
    down = sign(config.flip in ("vertical", "both")) / scale
    rows = [
        torch.stack(
            [angle.cos() * across, -angle.sin() * down * height / width, within(_SHIFT)], 1
        ),
        torch.stack([angle.sin() * across * width / height, angle.cos() * down, within(_SHIFT)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    contrast = torch.exp(within(config.brightness))[:, None, None, None]
    brightness = within(config.brightness)[:, None, None, None]
    return ((moved - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)


def shift_and_flip(images: Tensor, config: DetectorConfig, rng: torch.Generator) -> Tensor:
    """Shift each image by up to an eighth of its side, and flip it as `config.flip` allows.

    Shifts are by whole pixels, so that nothing is blurred.

    Returns:
        (N, C, H, W) in the range of `images`; border pixels are repeated beyond the border.
    """
    count, _, height, width = images.shape

    def places(side: int, mirrored: bool) -> Tensor:
        reach = side // 8
        shift = torch.randint(-reach, reach + 1, (count, 1), generator=rng)
        ahead = (torch.arange(side) + shift).clamp(0, side - 1)
        flipped = torch.rand(count, 1, generator=rng) < (0.5 if mirrored else 0.0)
        return torch.where(flipped, ahead.flip(1), ahead)

    rows = places(height, config.flip in ("vertical", "both"))
    columns = places(width, config.flip in ("horizontal", "both"))
    each = torch.arange(count)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)
