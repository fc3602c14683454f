"""Mixed images for distillation: they fill the space between normal images and outliers."""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.common.pixels import quantize, to_float

_BATCH = 1024


def mixed_images(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(count, C, H, W) uint8 images made of random pairs of (N, C, H, W) uint8 images.

    A third is a blend of both (mixup, Zhang et al. 2018), a third has a rectangle of the second
    image (CutMix, Yun et al. 2019), and a third is the first image with other channel gains and
    noise. A surrogate that is trained on whole images alone may give any score to a generator's
    unfinished edits, and the generator would exploit that.
    """
    made = [
        _mixed(images, min(_BATCH, count - start), generator) for start in range(0, count, _BATCH)
    ]
    return torch.cat(made) if made else images[:0]


def _mixed(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    def draw() -> Tensor:
        rows = torch.randint(len(images), (count,), generator=generator)
        return to_float(images[rows.to(images.device)].cpu())

    first, second, share = draw(), draw(), torch.rand(count, 1, 1, 1, generator=generator)
    pasted = torch.where(_rectangles(count, images.shape[2:], generator), second, first)
    gains = 1 + 0.8 * (torch.rand(count, images.shape[1], 1, 1, generator=generator) - 0.5)
    deviation = 0.15 * share.square()
    noisy = first * gains + deviation * torch.randn(first.shape, generator=generator)
    kind = torch.arange(count)[:, None, None, None] % 3
    mixed = torch.where(kind == 0, first.lerp(second, share), torch.where(kind == 1, pasted, noisy))
    return quantize(mixed)


def _rectangles(count: int, sides: torch.Size, generator: torch.Generator) -> Tensor:
    """(count, 1, H, W) bool: a random rectangle, from a tenth to nine tenths of each side."""
    inside = []
    for side in sides:
        length = 0.1 + 0.8 * torch.rand(count, 1, generator=generator)
        start = (1 - length) * torch.rand(count, 1, generator=generator)
        place = (torch.arange(side) + 0.5) / side
        inside.append((place >= start) & (place < start + length))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
