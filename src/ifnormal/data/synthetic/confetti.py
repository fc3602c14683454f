"""Confetti (FCDD, Liznerski et al. 2021): small patches of random colours, at known places."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ifnormal.data.synthetic import shapes

_USUAL = 3.0  # pieces an image
_MOST = 12
# Of the shorter side: the paper's 8 to 54 pixels of 224, and down to half of that.
_SMALLEST, _LARGEST = 4 / 224, 54 / 224
_TURN = math.radians(45)
_SOFT = 5 / 224  # deviation of the paper's blur, the widest one here
_VISIBLE = 0.05


def confetti(image: Tensor, donor: Tensor, rng: torch.Generator) -> Tensor:
    """Small boxes of random colours, near each other or scattered."""
    _, height, width = image.shape
    edited, spread = image.clone(), shapes.uniform(rng, 0.05, 0.5)
    y, x = shapes.place(rng, image)
    same = shapes.colour(rng, image) if shapes.chance(rng, 0.5) else None
    for _ in range(int(torch.randint(1, 13, (), generator=rng))):
        dy, dx = (spread * torch.randn(2, generator=rng)).tolist()
        at = (y + dy * height, x + dx * width)
        top, left, h, w = shapes.box(rng, image, (0.0005, 0.008), at)
        tint = shapes.colour(rng, image) if same is None else same
        edited[:, top : top + h, left : left + w] = tint
    return edited


def throw_confetti(images: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Add coloured, turned, soft-edged squares at random places, as in the paper.

    Every call adds other squares. Their sizes are log-uniform, as real defects are mostly small.

    Args:
        images: (N, C, H, W) float in [0, 1].
        rng: source of randomness.

    Returns:
        The images (N, C, H, W) in [0, 1], and where each visibly changed, (N, H, W) bool.
    """
    count, channels, height, width = images.shape
    side = min(height, width)
    rows = torch.arange(height)[:, None] + 0.5
    columns = torch.arange(width)[None, :] + 0.5
    thrown = images.clone()
    for n in range(count):
        pieces = min(_MOST, 1 + int(torch.poisson(torch.tensor(_USUAL - 1), generator=rng)))
        for _ in range(pieces):
            half = side * _size(rng) / 2
            angle = shapes.uniform(rng, -_TURN, _TURN)
            dy = rows - shapes.uniform(rng, 0, height)
            dx = columns - shapes.uniform(rng, 0, width)
            along = (dx * math.cos(angle) + dy * math.sin(angle)).abs()
            across = (dy * math.cos(angle) - dx * math.sin(angle)).abs()
            softness = max(1.0, shapes.uniform(rng, 0, 2 * _SOFT) * side)
            mask = ((half - torch.maximum(along, across)) / softness + 0.5).clamp(0, 1)
            tint = 2 * torch.rand(channels, 1, 1, generator=rng) - 1
            if shapes.chance(rng, 0.4):  # the paper's share of white and black among colours
                tint = tint[:1].sign().expand(channels, 1, 1)
            thrown[n] = (thrown[n] + mask * tint).clamp(0, 1)
    return thrown, (thrown - images).abs().amax(1) > _VISIBLE


def _size(rng: torch.Generator) -> float:
    return math.exp(shapes.uniform(rng, math.log(_SMALLEST), math.log(_LARGEST)))
