"""Defects of shape: local warps, erased parts, and turned, mirrored or resized images."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.data.synthetic import shapes


def turned(image: Tensor, degrees: float, scale: float = 1.0) -> Tensor:
    """Turn (C, H, W) about its centre and magnify it; border pixels are repeated outwards."""
    _, height, width = image.shape
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    theta = torch.tensor(
        [[[cosine, -sine * height / width, 0], [sine * width / height, cosine, 0]]]
    )
    grid = F.affine_grid(theta, [1, *image.shape], align_corners=False)
    return _sampled(image, grid)


def turn(image: Tensor, donor: Tensor, rng: torch.Generator) -> Tensor:
    """Turn the whole image by at least 20 degrees, resize it and sometimes mirror it."""
    if shapes.chance(rng, 0.3):
        image = image.flip(1)
    sign = 1 if shapes.chance(rng, 0.5) else -1
    small_or_large = math.exp(sign * shapes.uniform(rng, 0, 0.4))
    return turned(image, shapes.uniform(rng, 20, 340), small_or_large)


def warp(image: Tensor, donor: Tensor, rng: torch.Generator) -> Tensor:
    """Push, bulge, pinch or twist a part of (C, H, W) in [0, 1]."""
    _, height, width = image.shape
    distance, y, x = shapes.ellipse(rng, image, (0.06, 0.25), length=1.5)
    weight = (1 - distance.square()).clamp_min(0).square()
    dy = torch.arange(height)[:, None] + 0.5 - y
    dx = torch.arange(width)[None, :] + 0.5 - x
    kind = int(torch.randint(3, (), generator=rng))
    if kind == 0:  # pushed
        reach, angle = 0.15 * min(height, width), shapes.uniform(rng, 0, 2 * math.pi)
        shift_y = weight * reach * math.sin(angle)
        shift_x = weight * reach * math.cos(angle)
    elif kind == 1:  # bulged or pinched
        power = shapes.uniform(rng, 0.4, 0.8) * (1 if shapes.chance(rng, 0.5) else -1)
        shift_y, shift_x = weight * power * dy, weight * power * dx
    else:  # twisted
        angle = shapes.uniform(rng, 1.0, 3.0) * (1 if shapes.chance(rng, 0.5) else -1)
        turn = weight * angle
        shift_y = turn.sin() * dx + (turn.cos() - 1) * dy
        shift_x = (turn.cos() - 1) * dx - turn.sin() * dy
    rows = (torch.arange(height)[:, None] + 0.5 + shift_y) * 2 / height - 1
    columns = (torch.arange(width)[None, :] + 0.5 + shift_x) * 2 / width - 1
    return _sampled(image, torch.stack([columns, rows], 2)[None])


def erase(image: Tensor, donor: Tensor, rng: torch.Generator) -> Tensor:
    """Erase a part: fill it with the blurred surroundings."""
    _, height, width = image.shape
    mask = shapes.blob(rng, image, (0.04, 0.15))
    outside = 1 - mask.round()
    around = max(3, 2 * (min(height, width) // 8) + 1)
    near = F.avg_pool2d((image * outside)[None], around, 1, around // 2)[0]
    share = F.avg_pool2d(outside[None, None], around, 1, around // 2)[0]
    filling = torch.where(share > 0.01, near / share.clamp_min(0.01), image.mean((1, 2), True))
    return image + mask * (filling - image)


def _sampled(image: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(image[None], grid, padding_mode="border", align_corners=False)[0]
