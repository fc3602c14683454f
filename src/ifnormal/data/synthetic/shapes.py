"""Random shapes and smooth noise: where a synthetic anomaly is, and how it fades out."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_OCTAVES = 3


def uniform(rng: torch.Generator, low: float, high: float) -> float:
    """A number between `low` and `high`."""
    return low + (high - low) * float(torch.rand((), generator=rng))


def chance(rng: torch.Generator, probability: float) -> bool:
    """True with that probability."""
    return float(torch.rand((), generator=rng)) < probability


def colour(rng: torch.Generator, channels: int) -> Tensor:
    """A random colour (C, 1, 1) in [0, 1]."""
    return torch.rand(channels, 1, 1, generator=rng)


def box(
    rng: torch.Generator, height: int, width: int, area: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a box that covers a share `area` (from, to) of the image.

    At least one pixel; the longer side is up to three times the shorter one.
    """
    share = math.exp(uniform(rng, math.log(area[0]), math.log(area[1])))
    aspect = math.exp(uniform(rng, -math.log(3), math.log(3)))
    h = min(height, max(1, round(height * math.sqrt(share * aspect))))
    w = min(width, max(1, round(width * math.sqrt(share / aspect))))
    top = int(torch.randint(height - h + 1, (), generator=rng))
    left = int(torch.randint(width - w + 1, (), generator=rng))
    return top, left, h, w


def smooth_noise(rng: torch.Generator, height: int, width: int, cells: int) -> Tensor:
    """Noise like Perlin's, (H, W), with zero mean: random grids, finer and fainter each octave."""
    total = torch.zeros(1, 1, height, width)
    for octave in range(_OCTAVES):
        side = max(2, cells * 2**octave)
        grid = torch.randn(1, 1, side, side, generator=rng)
        total += F.interpolate(grid, (height, width), mode="bicubic", align_corners=False) / (
            2**octave
        )
    return total[0, 0]


def ellipse(
    rng: torch.Generator, height: int, width: int, radius: tuple[float, float], length: float = 3.0
) -> tuple[Tensor, float, float]:
    """Distance (H, W) from the centre of a turned ellipse, 1 on its rim, and the centre (y, x).

    Args:
        rng: decides everything.
        height, width: of the image.
        radius: shorter half-axis as a share of the shorter side of the image, from and to.
        length: the longer half-axis is up to so many times the shorter one.
    """
    side = min(height, width)
    short = max(0.6, side * math.exp(uniform(rng, math.log(radius[0]), math.log(radius[1]))))
    long = min(short * uniform(rng, 1, length), max(short, side / 2))
    y, x, turn = uniform(rng, 0, height), uniform(rng, 0, width), uniform(rng, 0, math.pi)
    dy = torch.arange(height)[:, None] + 0.5 - y
    dx = torch.arange(width)[None, :] + 0.5 - x
    along = dx * math.cos(turn) + dy * math.sin(turn)
    across = dy * math.cos(turn) - dx * math.sin(turn)
    return ((along / long).square() + (across / short).square()).sqrt(), y, x


def blob(
    rng: torch.Generator, height: int, width: int, radius: tuple[float, float] = (0.03, 0.2)
) -> Tensor:
    """A ragged patch (H, W) in [0, 1], 1 inside, its rim hard or soft; see `ellipse`."""
    distance, _, _ = ellipse(rng, height, width, radius)
    ragged = distance + uniform(rng, 0, 0.4) * smooth_noise(rng, height, width, 4)
    softness = uniform(rng, 0.02, 0.4)
    return ((1 - ragged) / softness + 0.5).clamp(0, 1)


def scar(rng: torch.Generator, height: int, width: int) -> Tensor:
    """A thin, straight or slightly bent stroke (H, W) in [0, 1]."""
    distance, _, _ = ellipse(rng, height, width, (0.008, 0.03), length=15)
    bend = uniform(rng, 0, 0.3) * smooth_noise(rng, height, width, 2)
    return ((1 - distance - bend) / 0.3 + 0.5).clamp(0, 1)
