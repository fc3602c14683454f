"""Rendered letters in the style of MNIST: outlier exposure without EMNIST."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional

from ifnormal.data.sampling import generator
from ifnormal.data.sources.labelled import LabelledImages
from ifnormal.data.sources.lookalikes import is_stroke, letters_like, moments
from ifnormal.data.sources.strokes import GLYPH, GRID, letter_fields

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SIZE, _BOX = 28, 20
_BATCH = 1000


def rendered_letters(
    count: int, seed: int, unlike: Collection[int] = (1,), purpose: str = "training"
) -> LabelledImages:
    """Draw letters in the format of MNIST: light on black, in a 20x20 box, centred by mass.

    Every letter is the centre line of a random font's glyph, bent by a random affine map and a
    smooth random displacement, and drawn with a pen of random, slightly uneven width.

    The detector is trained to call letters anomalous, so letters that look like a normal digit are
    left out (`LOOKALIKES`). If digit one is normal, so is every drawing of another letter that is
    as elongated as a one (`is_stroke`).

    Args:
        count: how many letters.
        seed: of all random choices.
        unlike: digits that no letter may look like.
        purpose: other purposes get other drawings.

    Returns:
        (count, 1, 28, 28) images; labels index the letters in use.
    """
    alike = letters_like(unlike)
    letters = "".join(letter for letter in _LETTERS if letter not in alike)
    fields, kinds = letter_fields(letters)
    rng = generator(seed, f"letters for {purpose}")
    images, labels = [torch.empty(0, 1, _SIZE, _SIZE, dtype=torch.uint8)], [kinds[:0]]
    missing = count
    while missing > 0:
        chosen = torch.randint(len(fields), (min(missing + 16, _BATCH),), generator=rng)
        drawn = _draw(fields[chosen], rng)
        if 1 in unlike:
            keep = ~is_stroke(drawn)
            chosen, drawn = chosen[keep], drawn[keep]
        chosen, drawn = chosen[:missing], drawn[:missing]
        images.append(drawn)
        labels.append(kinds[chosen])
        missing -= len(drawn)
    return LabelledImages(torch.cat(images), torch.cat(labels), tuple(letters))


def _draw(fields: Tensor, rng: torch.Generator) -> Tensor:
    """(N, 1, 80, 80) distances to centre lines -> (N, 1, 28, 28) uint8 drawings."""
    n = len(fields)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=rng) * (high - low) + low

    angle, shear, stretch = uniform(-0.25, 0.25), uniform(-0.35, 0.25), uniform(0.75, 1.3)
    cos, sin = angle.cos(), angle.sin()
    bend = torch.stack(
        [cos * stretch, cos * shear - sin, sin * stretch, sin * shear + cos], dim=1
    ).reshape(n, 2, 2)
    wobble = functional.interpolate(
        torch.randn(n, 2, 4, 4, generator=rng) * 2.4, _SIZE, mode="bicubic", align_corners=True
    )
    width = uniform(1.3, 2.9, 1, 1, 1) + functional.interpolate(
        torch.randn(n, 1, 4, 4, generator=rng) * 0.25, _SIZE, mode="bicubic", align_corners=True
    )
    # A first, small drawing yields the box and the centre of mass of the bent letter. The second
    # fills MNIST's box and is centred.
    scale, shift = torch.full((n,), GLYPH / _BOX * 1.1), torch.zeros(n, 2)
    first = _pen(fields, bend, wobble, scale, shift, width * 0 + 1.5)
    x, y, _, _ = moments(first)
    wide, high = (_extent(first.amax(axis)) for axis in (2, 3))
    longest = torch.maximum(wide[1] - wide[0], high[1] - high[0]).clamp(min=1)
    factor = (_BOX - 1 - width.mean((1, 2, 3)) / 2) / longest
    middle = (_SIZE - 1) / 2
    shift = torch.stack([x - middle, y - middle], dim=1)
    ink = _pen(fields, bend, wobble, scale / factor, shift * factor[:, None], width)
    return (ink * 255).round().to(torch.uint8)


def _extent(profile: Tensor) -> tuple[Tensor, Tensor]:
    inked = profile.flatten(1) > 0.5
    length = inked.shape[1]
    return inked.int().argmax(1), length - inked.flip(1).int().argmax(1)


def _pen(
    fields: Tensor, bend: Tensor, wobble: Tensor, scale: Tensor, shift: Tensor, width: Tensor
) -> Tensor:
    """Draw in [0, 1]; `scale` is grid pixels a drawn pixel, `shift` and `width` drawn pixels."""
    axis = torch.arange(_SIZE, dtype=torch.float32) - (_SIZE - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x, y], dim=-1) + shift[:, None, None]
    points = torch.einsum("nij,nyxj->nyxi", bend, points) * scale[:, None, None, None]
    points = points + wobble.permute(0, 2, 3, 1)
    distance = functional.grid_sample(
        fields, points / (GRID / 2), mode="bilinear", padding_mode="border", align_corners=False
    )
    distance = distance / scale[:, None, None, None]
    # MNIST's digits have soft edges, 1.25 pixels wide, because they were scaled down.
    return ((width / 2 - distance) / 1.25 + 0.5).clamp(0, 1)
