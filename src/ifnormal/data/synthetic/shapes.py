"""Random places, shapes and smooth noise for synthetic defects."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_OCTAVES = 3


def uniform(rng: torch.Generator, low: float, high: float) -> float:
    """A random number between `low` and `high`."""
    return low + (high - low) * float(torch.rand((), generator=rng))


def chance(rng: torch.Generator, probability: float) -> bool:
    """True with that probability."""
    return float(torch.rand((), generator=rng)) < probability


def colour(rng: torch.Generator, image: Tensor) -> Tensor:
    """A random colour (C, 1, 1) in [0, 1], often similar to a pixel of the image (C, H, W)."""
    channels, height, width = image.shape
    anything = torch.rand(channels, 1, 1, generator=rng)
    y, x = int(uniform(rng, 0, height)), int(uniform(rng, 0, width))
    shift = 0.5 * (torch.rand(1, 1, 1, generator=rng) - 0.5)
    own = (image[:, y, x, None, None] + shift).clamp(0, 1)
    return anything if chance(rng, 0.4) else own


def place(rng: torch.Generator, image: Tensor) -> tuple[float, float]:
    """A random point (y, x) of the image (C, H, W), more likely where there is detail.

    Defects are on objects, while most of an image may be empty background.
    """
    _, height, width = image.shape
    if chance(rng, 0.4):
        return uniform(rng, 0, height), uniform(rng, 0, width)
    mean = image.mean(0)
    detail = torch.zeros_like(mean)
    detail[:-1] += mean.diff(dim=0).abs()
    detail[:, :-1] += mean.diff(dim=1).abs()
    index = int(torch.multinomial(detail.flatten() + 1e-6, 1, generator=rng))
    return index // width + 0.5, index % width + 0.5


def box(
    rng: torch.Generator, image: Tensor, area: tuple[float, float], at: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a box in (C, H, W) around the point `at` (y, x).

    It covers a share `area` (from, to) of the image, at least one pixel; its longer side is up to
    three times the shorter one.
    """
    _, height, width = image.shape
    share = math.exp(uniform(rng, math.log(area[0]), math.log(area[1])))
    aspect = math.exp(uniform(rng, -math.log(3), math.log(3)))
    h = min(height, max(1, round(height * math.sqrt(share * aspect))))
    w = min(width, max(1, round(width * math.sqrt(share / aspect))))
    return *corner(image, at, h, w), h, w


def corner(image: Tensor, at: tuple[float, float], height: int, width: int) -> tuple[int, int]:
    """Top and left of a box of that size around the point `at`, moved into the image."""
    top, left = round(at[0] - height / 2), round(at[1] - width / 2)
    return (
        min(max(0, top), image.shape[1] - height),
        min(max(0, left), image.shape[2] - width),
    )


def smooth_noise(rng: torch.Generator, height: int, width: int, cells: int) -> Tensor:
    """Zero-mean noise (H, W) like Perlin's: a sum of ever finer and fainter random grids."""
    total = torch.zeros(1, 1, height, width)
    for octave in range(_OCTAVES):
        side = max(2, cells * 2**octave)
        grid = torch.randn(1, 1, side, side, generator=rng)
        total += F.interpolate(grid, (height, width), mode="bicubic", align_corners=False) / (
            2**octave
        )
    return total[0, 0]


def ellipse(
    rng: torch.Generator, image: Tensor, radius: tuple[float, float], length: float = 3.0
) -> tuple[Tensor, float, float]:
    """Distance (H, W) from the centre of a turned ellipse, 1 on its rim, and the centre (y, x).

    Args:
        rng: source of randomness.
        image: (C, H, W), in which the centre is a `place`.
        radius: range of the shorter half-axis, as a share of the shorter side of the image.
        length: largest ratio of the half-axes.
    """
    _, height, width = image.shape
    side = min(height, width)
    short = max(0.6, side * math.exp(uniform(rng, math.log(radius[0]), math.log(radius[1]))))
    long = min(short * uniform(rng, 1, length), max(short, side / 2))
    (y, x), turn = place(rng, image), uniform(rng, 0, math.pi)
    dy = torch.arange(height)[:, None] + 0.5 - y
    dx = torch.arange(width)[None, :] + 0.5 - x
    along = dx * math.cos(turn) + dy * math.sin(turn)
    across = dy * math.cos(turn) - dx * math.sin(turn)
    return ((along / long).square() + (across / short).square()).sqrt(), y, x


def blob(rng: torch.Generator, image: Tensor, radius: tuple[float, float] = (0.03, 0.2)) -> Tensor:
    """A ragged patch (H, W) in [0, 1], 1 inside, with a hard or soft rim; see `ellipse`."""
    distance, _, _ = ellipse(rng, image, radius)
    ragged = distance + uniform(rng, 0, 0.4) * smooth_noise(rng, *_size(distance), 4)
    softness = uniform(rng, 0.02, 0.4)
    return ((1 - ragged) / softness + 0.5).clamp(0, 1)


def scar(rng: torch.Generator, image: Tensor) -> Tensor:
    """A thin, straight or slightly bent stroke (H, W) in [0, 1]."""
    distance, _, _ = ellipse(rng, image, (0.008, 0.03), length=15)
    bend = uniform(rng, 0, 0.3) * smooth_noise(rng, *_size(distance), 2)
    return ((1 - distance - bend) / 0.3 + 0.5).clamp(0, 1)


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]
