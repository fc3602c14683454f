"""What the judge of photographs is trained on: varied photographs, and junk it must not name.

As in `judge_images`, but a photograph fills its frame, has no one colour, and may be mirrored
where its labels allow it (a ship may, a traffic sign may not).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from ifnormal.evaluation.judge.images import (
    IGNORE,
    JUNK,
    JudgeBatch,
    Labels,
    all_junk,
    noise,
    uniform,
)


def vary_photographs(images: Tensor, rng: Generator, mirror: bool) -> Tensor:
    """Change (B, C, H, W) photographs as a camera or a generator would: none may change a label.

    Affine (±8°, ±12 % scale, ±12 % shift), mirrored or not, blur, contrast and brightness
    ±25 %, colour cast, noise.

    Args:
        images: in [0, 1].
        rng: decides what is done to each.
        mirror: whether left and right may change places.
    """
    count, channels, height, width = images.shape
    # Half of them move by whole pixels only: small photographs lose detail when interpolated.
    turned = (torch.rand(count, generator=rng) < 0.5).float()
    angle = uniform(rng, count, -0.14, 0.14).flatten() * turned
    scale = 1 + uniform(rng, count, -0.12, 0.12).flatten() * turned
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    shift = uniform(rng, 2 * count, -0.24, 0.24).view(count, 2)
    pixels = torch.tensor([width / 2, height / 2])
    shift = torch.where(turned[:, None] > 0, shift, (shift * pixels).round() / pixels)
    flip = torch.where(torch.rand(count, generator=rng) < (0.5 if mirror else 0.0), -1.0, 1.0)
    rows = [cos * flip, -sin, shift[:, 0], sin * flip, cos, shift[:, 1]]
    grid = functional.affine_grid(
        torch.stack(rows, 1).view(count, 2, 3), [count, channels, height, width], False
    )
    images = functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    blurred = torch.rand(count, generator=rng) < 0.25
    sharp, blur = images[blurred], uniform(rng, int(blurred.sum()), 0, 1)
    soft = functional.avg_pool2d(sharp, 3, 1, 1, count_include_pad=False)
    images[blurred] = sharp + blur * (soft - sharp)
    contrast = uniform(rng, count, 0.75, 1.25)
    middle = images.mean((1, 2, 3), keepdim=True)
    images = (images - middle) * contrast + middle
    # As a factor: a dark photograph must not become a black one.
    cast = 1 + 0.05 * torch.randn(count, channels, 1, 1, generator=rng)
    images = images * cast * uniform(rng, count, 0.75, 1.25) + uniform(rng, count, -0.02, 0.06)
    noisy = torch.rand(count, generator=rng) < 0.3
    clean, share = images[noisy], uniform(rng, int(noisy.sum()), 0, 0.3)
    strength = share * images.std((1, 2, 3), keepdim=True)[noisy]  # nor be lost in noise
    images[noisy] = clean + torch.randn(clean.shape, generator=rng) * strength
    return images.clamp(0, 1)


def faint(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """One colour all over, and photographs with hardly any contrast left."""
    count = len(images)
    left = uniform(rng, count, -0.05, 0.08).clamp_min(0)
    middle = images.mean((2, 3), keepdim=True)
    return JudgeBatch((images - middle) * left + middle, all_junk(labels), torch.ones(count))


def shuffled(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """The pixels of a photograph, or its pieces of an eighth or a quarter side, mixed up."""
    parts = [
        _mixed(part, size, rng)
        for part, size in zip(
            images.tensor_split(3), (1, images.shape[-1] // 8, images.shape[-1] // 4), strict=True
        )
    ]
    return JudgeBatch(torch.cat(parts), all_junk(labels), torch.ones(len(images)))


def _mixed(images: Tensor, size: int, rng: Generator) -> Tensor:
    """Squares of `size` pixels in a random order, the same for all; rims stay where they are."""
    height, width = (side // size * size for side in images.shape[-2:])
    pieces = functional.unfold(images[..., :height, :width], size, stride=size)
    order = torch.randperm(pieces.shape[2], generator=rng)
    result = images.clone()
    mixed = functional.fold(pieces[..., order], (height, width), size, stride=size)
    result[..., :height, :width] = mixed
    return result


def double_exposures(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """Two photographs in one, half of each everywhere; of the same class nobody can say.

    The second gets the contrast of the first: a pale one would be lost in it.
    """
    count = len(images)
    middle = images.mean((1, 2, 3), keepdim=True)
    spread = (images - middle).square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-3
    other = (images - middle).roll(1, 0) * (spread / spread.roll(1, 0)).clamp(0.2, 5)
    share = uniform(rng, count, 0.4, 0.6)
    verdict = {
        name: torch.where(values == values.roll(1, 0), IGNORE, JUNK)
        for name, values in labels.items()
    }
    mixed = share * (images - middle) + (1 - share) * other + middle
    return JudgeBatch(mixed.clamp(0, 1), verdict, torch.full((count,), 0.5))


def clouds(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """Soft spots in colours of photographs: what is left of one at a few pixels' resolution."""
    count, _, height, width = images.shape
    few = functional.adaptive_avg_pool2d(images, 3)
    order = torch.rand(count, 9, generator=rng).argsort(1)[:, None].expand(-1, images.shape[1], -1)
    few = few.flatten(2).gather(2, order).view_as(few)
    grown = functional.interpolate(few, (height, width), mode="bicubic", align_corners=False)
    return JudgeBatch(grown.clamp(0, 1), all_junk(labels), torch.ones(count))


def strangers(images: Tensor, labels: Labels, rng: Generator) -> JudgeBatch:
    """Outliers, passed in place of `images`: of no class that has a name.

    A pickup truck is nearly a truck, so these count little.
    """
    return JudgeBatch(images, all_junk(labels), torch.full((len(images),), 0.2))


PHOTOGRAPH_JUNK: dict[str, Callable[[Tensor, Labels, Generator], JudgeBatch]] = {
    "faint": faint,
    "shuffled": shuffled,
    "noise": noise,
    "double exposures": double_exposures,
    "clouds": clouds,
    "outliers": strangers,
}
