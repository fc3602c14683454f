"""Differentiable augmentation for the discriminator, so that few real images do not wear out.

A discriminator that sees a few hundred images a thousand times learns them by heart, and tells the
generator nothing any more. Augmenting what it sees, real and generated alike, and letting the
gradient through, keeps it honest, and the augmentations do not show in what is generated
(DiffAugment, Zhao et al. 2020).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

_FEW = 2000
_SHIFT = 1 / 8
_CUTOUT = 1 / 4


def is_wanted(choice: Literal["auto", "on", "off"], normal: int) -> bool:
    """Whether to augment: as chosen or, for "auto", with fewer than 2,000 normal images."""
    return normal < _FEW if choice == "auto" else choice == "on"


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Colour, translation and cutout, each image in its own way; gradient flows.

    Args:
        images: (N, C, H, W) float in [0, 1].
        generator: on the CPU, so that a run is the same wherever it is computed.

    Returns:
        (N, C, H, W); values may leave [0, 1] a little.
    """
    return _cut_out(_shift(_recolour(images, generator), generator), generator)


def _random(images: Tensor, generator: torch.Generator) -> Tensor:
    """(N, 1, 1, 1) numbers in [0, 1)."""
    return torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device, images.dtype)


def _recolour(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness ±0.25, saturation 0 to 2 (where there is colour), contrast 0.5 to 1.5."""
    images = images + (_random(images, generator) - 0.5) / 2
    if images.shape[1] > 1:
        grey = images.mean(1, keepdim=True)
        images = grey + (images - grey) * 2 * _random(images, generator)
    middle = images.mean((1, 2, 3), keepdim=True)
    return middle + (images - middle) * (0.5 + _random(images, generator))


def _shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Up to an eighth of the sides in any direction; what is left uncovered is black."""
    count, _, height, width = images.shape
    rows = _shifted(count, height, generator).to(images.device)
    columns = _shifted(count, width, generator).to(images.device)
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None
    ]
    number = torch.arange(count, device=images.device)[:, None, None]
    source_rows = rows.clamp(0, height - 1)[:, :, None]
    source_columns = columns.clamp(0, width - 1)[:, None, :]
    moved = images.permute(0, 2, 3, 1)[number, source_rows, source_columns].permute(0, 3, 1, 2)
    return moved * inside[:, None]


def _shifted(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(N, side) where each row or column comes from."""
    reach = max(1, round(side * _SHIFT))
    shift = torch.randint(-reach, reach + 1, (count, 1), generator=generator)
    return torch.arange(side)[None] + shift


def _cut_out(images: Tensor, generator: torch.Generator) -> Tensor:
    """A box with a quarter of the sides becomes black."""
    count, _, height, width = images.shape
    keep_rows = _outside(count, height, generator)
    keep_columns = _outside(count, width, generator)
    keep = keep_rows[:, None, :, None] | keep_columns[:, None, None, :]
    return images * keep.to(images.device)


def _outside(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(N, side) bool: not in the box."""
    length = max(1, round(side * _CUTOUT))
    start = torch.randint(side - length + 1, (count, 1), generator=generator)
    place = torch.arange(side)[None]
    return (place < start) | (place >= start + length)
