"""What the judge is trained on: slightly varied images, and junk it must refuse to name.

A classifier that only ever saw digits calls a blank image a one. So junk is made on the fly from
the labelled images themselves, and every attribute has "junk" as one more answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

JUNK = -1
IGNORE = -2  # nobody can say; the loss leaves it out
COLOR = "color"  # the one attribute that part of an image can show; all others are shapes

Labels = Mapping[str, Tensor]


@dataclass(frozen=True)
class JudgeBatch:
    """Images with an answer for every attribute.

    Attributes:
        images: (B, C, H, W) float in [0, 1].
        labels: attribute -> (B,) int64: a value, `JUNK`, or `IGNORE`.
        weights: (B,) float, how much each image counts in the loss.
    """

    images: Tensor
    labels: dict[str, Tensor]
    weights: Tensor


def uniform(rng: Generator, count: int, low: float, high: float) -> Tensor:
    """(count, 1, 1, 1) numbers between `low` and `high`."""
    return torch.rand(count, 1, 1, 1, generator=rng) * (high - low) + low


def _thick(images: Tensor) -> Tensor:
    return functional.max_pool2d(images, 3, 1, 1)


def _thin(images: Tensor) -> Tensor:
    return -functional.max_pool2d(-images, 3, 1, 1)


def _soft(images: Tensor) -> Tensor:
    return functional.avg_pool2d(images, 3, 1, 1)


def vary(images: Tensor, rng: Generator) -> Tensor:
    """Change (B, C, H, W) images as a generator's slight artefacts would: none may change a label.

    Affine (±12°, ±12 % scale, ±2 pixels of 28), stroke thickness, blur, colour cast, brightness
    0.7 to 1, a faint background, noise.
    """
    count, channels, height, width = images.shape
    angle = uniform(rng, count, -0.21, 0.21).flatten()
    scale = uniform(rng, count, 0.88, 1.12).flatten()
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    shift = uniform(rng, 2 * count, -0.15, 0.15).view(count, 2)
    shear = uniform(rng, count, -0.12, 0.12).flatten()
    rows = [cos, -sin + shear, shift[:, 0], sin, cos, shift[:, 1]]
    grid = functional.affine_grid(
        torch.stack(rows, 1).view(count, 2, 3), [count, channels, height, width], False
    )
    images = functional.grid_sample(images, grid, align_corners=False)
    kind = torch.rand(count, generator=rng)
    mix = uniform(rng, count, 0, 0.6)
    for low, high, change in ((0, 0.25, _thick), (0.25, 0.4, _thin), (0.4, 0.65, _soft)):
        chosen = (low <= kind) & (kind < high)
        images[chosen] += mix[chosen] * (change(images[chosen]) - images[chosen])
    cast = 1 + 0.08 * torch.randn(count, channels, 1, 1, generator=rng)
    images = images * cast * uniform(rng, count, 0.7, 1)
    # What a generator leaves of its black: a veil of up to 0.12 over a third of the images.
    veil = 0.12 * torch.rand(count, channels, 1, 1, generator=rng)
    images = torch.maximum(images, veil * (uniform(rng, count, 0, 1) < 0.33))
    grain = torch.randn(images.shape, generator=rng) * uniform(rng, count, 0, 0.08)
    return (images + grain).clamp(0, 1)


def half_plane(images: Tensor, angle: Tensor) -> Tensor:
    """(B, 1, H, W) masks: 1 on one side of a line through where the brightness has its middle."""
    height, width = images.shape[-2:]
    light = images.amax(1, keepdim=True) + 1e-6
    y = torch.linspace(-1, 1, height).view(1, 1, -1, 1)
    x = torch.linspace(-1, 1, width).view(1, 1, 1, -1)
    total = light.sum((2, 3), keepdim=True)
    center_y = (light * y).sum((2, 3), keepdim=True) / total
    center_x = (light * x).sum((2, 3), keepdim=True) / total
    distance = torch.cos(angle) * (y - center_y) + torch.sin(angle) * (x - center_x)
    return torch.sigmoid(distance * width)


def color_of(images: Tensor) -> Tensor:
    """(B, C, 1, 1): the colour of the bright parts of (B, C, H, W)."""
    light = images.amax(1, keepdim=True).pow(2)
    return (images * light).sum((2, 3), keepdim=True) / (light.sum((2, 3), keepdim=True) + 1e-6)


def all_junk(labels: Labels) -> dict[str, Tensor]:
    """Junk, whatever the attribute."""
    return {name: torch.full_like(values, JUNK) for name, values in labels.items()}


def _junk_shape(labels: Labels) -> dict[str, Tensor]:
    """The shape is no longer one; the colour still is what it was."""
    junk = all_junk(labels)
    return {name: values if name == COLOR else junk[name] for name, values in labels.items()}


def _unknown_color(labels: Labels) -> dict[str, Tensor]:
    junk = all_junk(labels)
    return {n: torch.full_like(v, IGNORE) if n == COLOR else v for n, v in junk.items()}


def faded(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """Blank images, and images at less than 38 % of their brightness."""
    count = len(images)
    strength = uniform(rng, count, -0.1, 0.38).clamp_min(0)
    level = uniform(rng, count, 0, 0.1) * (uniform(rng, count, 0, 1) < 0.3)
    return JudgeBatch(images * strength + level, all_junk(labels), torch.ones(count))


def blobs(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """Round spots, of the colours that the images have; up to the whole image in one colour."""
    count, _, height, width = images.shape
    y = torch.linspace(-1, 1, height).view(1, 1, -1, 1)
    x = torch.linspace(-1, 1, width).view(1, 1, 1, -1)
    canvas = torch.zeros(count, 1, height, width)
    for spot in range(3):
        size = uniform(rng, count, 0.1, 1).pow(2) * 2
        row, column = uniform(rng, count, -0.6, 0.6), uniform(rng, count, -0.6, 0.6)
        square = ((y - row) ** 2 + ((x - column) * uniform(rng, count, 0.7, 1.4)) ** 2) / size
        present = uniform(rng, count, 0, 1) < 1 / (spot + 1)
        canvas = torch.maximum(canvas, torch.exp(-4 * square) * present)
    sharp = uniform(rng, count, 1, 4)
    color = color_of(images)
    return JudgeBatch(
        (canvas * sharp).clamp(0, 1) * color, _unknown_color(labels), torch.ones(count)
    )


def noise(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """Coloured noise, fine or coarse, soft or hard."""
    count, channels, height, width = images.shape
    fine = torch.rand(images.shape, generator=rng)
    coarse = functional.interpolate(
        torch.rand(count, channels, 5, 5, generator=rng), (height, width), mode="bilinear"
    )
    field = torch.where(uniform(rng, count, 0, 1) < 0.4, fine, coarse)
    middle = uniform(rng, count, 0.2, 0.7)
    field = (field - middle) * uniform(rng, count, 1, 8) + 0.4
    return JudgeBatch(field.clamp(0, 1), all_junk(labels), torch.ones(count))


def overlays(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """Two images in one: laid over each other, or half of each everywhere."""
    count = len(images)
    partner = images.roll(1, 0)
    share = uniform(rng, count, 0.35, 0.65)
    over = uniform(rng, count, 0, 1) < 0.5
    mixed = torch.where(
        over, torch.maximum(images, partner), share * images + (1 - share) * partner
    )
    verdict = {}
    for name, values in labels.items():
        # Two threes may well make a three; two reds make a red.
        same = values if name == COLOR else torch.full_like(values, IGNORE)
        verdict[name] = torch.where(values == values.roll(1, 0), same, JUNK)
    return JudgeBatch(mixed, verdict, torch.full((count,), 0.5))


def erased(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """The upper or lower half gone.

    Never the left or right half: the right half of a four is an honest one.
    """
    count = len(images)
    angle = uniform(rng, count, -0.4, 0.4)
    angle = angle + math.pi * (uniform(rng, count, 0, 1) < 0.5)
    kept = images * half_plane(images, angle)
    return JudgeBatch(kept, _junk_shape(labels), torch.ones(count))


def recolored(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """One half in another image's colour: the shape stays, the colour is no longer one."""
    count = len(images)
    mask = half_plane(images, uniform(rng, count, -math.pi, math.pi))
    light = images.amax(1, keepdim=True) / (images.amax((1, 2, 3), keepdim=True) + 1e-6)
    mixed = mask * light * color_of(images).roll(1, 0) + (1 - mask) * images
    verdict = dict(labels)
    color = labels[COLOR]
    verdict[COLOR] = torch.where(color == color.roll(1, 0), color, JUNK)
    return JudgeBatch(mixed, verdict, torch.ones(count))


def outliers(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """Outlier exposure, passed in place of `images`: of no known shape.

    A letter such as B or I can look like a digit, so these count less.
    """
    return JudgeBatch(images, _unknown_color(labels), torch.full((len(images),), 0.3))


JUNK_KINDS: dict[str, Callable[[Tensor, Labels, Generator], JudgeBatch]] = {
    "faded": faded,
    "blobs": blobs,
    "noise": noise,
    "overlays": overlays,
    "erased": erased,
    "recolored": recolored,
    "outliers": outliers,
}
