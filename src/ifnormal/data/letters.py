"""Rendered letters: outlier exposure in the style of MNIST for whoever has no EMNIST at hand."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ifnormal.data.images import LabelledImages
from ifnormal.data.sampling import generator
from ifnormal.data.strokes import GRID, letter_fields

# Letters, either case, that a person may write like the digit.
LOOKALIKES = {
    0: "OoQDUa",
    1: "IiJjLlTtfFr",
    2: "Zz",
    3: "",
    4: "AHyY",
    5: "Ss",
    6: "bG",
    7: "TFYJ",
    8: "B",
    9: "gpqP",
}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SIZE, _BOX = 28, 20
_BATCH = 1000


def rendered_letters(count: int, seed: int, unlike_digit: int = 1) -> LabelledImages:
    """Draw letters as MNIST has its digits: light on black, in a 20x20 box, centred by mass.

    Every letter is the centre line of a random font's glyph, bent by a random affine map and a
    smooth random displacement, and drawn with a pen of random, slightly uneven width.

    The detector learns that these are anomalies, so no letter may look like the digit that is
    normal. For digit one that is any plain stroke: the letters that are one by design are left
    out (I, l, i, j, J, t, f, F, r, L, T), and of the others each drawing whose ink is so elongated
    that it could pass for a one (see `is_stroke`).

    Args:
        count: how many letters.
        seed: decides everything about them.
        unlike_digit: the digit that none may look like.

    Returns:
        (count, 1, 28, 28) images; labels index the letters in use.
    """
    letters = "".join(letter for letter in _LETTERS if letter not in LOOKALIKES[unlike_digit])
    fields, kinds = letter_fields(letters)
    rng = generator(seed, "rendered letters")
    images, labels = [torch.empty(0, 1, _SIZE, _SIZE, dtype=torch.uint8)], [kinds[:0]]
    missing = count
    while missing > 0:
        chosen = torch.randint(len(fields), (min(missing + 16, _BATCH),), generator=rng)
        drawn = _draw(fields[chosen], rng)
        keep = (~is_stroke(drawn) if unlike_digit == 1 else torch.ones(len(drawn)).bool()).nonzero()
        keep = keep.flatten()[:missing]
        images.append(drawn[keep])
        labels.append(kinds[chosen[keep]])
        missing -= len(keep)
    return LabelledImages(torch.cat(images), torch.cat(labels), tuple(letters))


def is_stroke(images: Tensor) -> Tensor:
    """Tell which drawings are one elongated stroke, as most handwritten ones are.

    Args:
        images: (N, 1, H, W) uint8, light on black.

    Returns:
        (N,) bool: the ink's spread across its principal axis is below 0.4 of that along it. In
        MNIST this holds for nearly all ones and few other digits.
    """
    _, _, along, across = _moments(images.float())
    return across < 0.4 * along


def _moments(ink: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(N, 1, H, W) ink: centre x and y, spread along and across the principal axis, (N,) each."""
    mass = ink.sum((1, 2, 3)).clamp(min=1e-6)
    column = torch.arange(ink.shape[3], dtype=torch.float32)
    row = torch.arange(ink.shape[2], dtype=torch.float32)[:, None]
    x = (ink[:, 0] * column).sum((1, 2)) / mass
    y = (ink[:, 0] * row).sum((1, 2)) / mass
    dx, dy = column - x[:, None, None], row - y[:, None, None]
    xx = (ink[:, 0] * dx * dx).sum((1, 2)) / mass
    yy = (ink[:, 0] * dy * dy).sum((1, 2)) / mass
    xy = (ink[:, 0] * dx * dy).sum((1, 2)) / mass
    mean, spread = (xx + yy) / 2, ((xx - yy).square() / 4 + xy.square()).sqrt()
    return x, y, (mean + spread).sqrt(), (mean - spread).clamp(min=0).sqrt()


def _draw(fields: Tensor, rng: torch.Generator) -> Tensor:
    """(N, 1, 64, 64) distances to centre lines -> (N, 1, 28, 28) uint8 drawings."""
    n = len(fields)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=rng) * (high - low) + low

    angle, shear, stretch = uniform(-0.25, 0.25), uniform(-0.35, 0.25), uniform(0.75, 1.3)
    cos, sin = angle.cos(), angle.sin()
    bend = torch.stack(
        [cos * stretch, cos * shear - sin, sin * stretch, sin * shear + cos], dim=1
    ).reshape(n, 2, 2)
    wobble = functional.interpolate(
        torch.randn(n, 2, 5, 5, generator=rng) * 2.6, _SIZE, mode="bicubic", align_corners=True
    )
    width = uniform(1.3, 3.1, 1, 1, 1) + functional.interpolate(
        torch.randn(n, 1, 4, 4, generator=rng) * 0.25, _SIZE, mode="bicubic", align_corners=True
    )
    # A first drawing, small and in the middle, finds the box of the bent letter; the second fills
    # the box that MNIST's digits fill and sits where their centre of mass does.
    scale, shift = torch.full((n,), GRID / _BOX * 1.1), torch.zeros(n, 2)
    first = _pen(fields, bend, wobble, scale, shift, width * 0 + 1.5)
    x, y, _, _ = _moments(first)
    wide, high = (_extent(first.amax(axis)) for axis in (2, 3))
    longest = torch.maximum(wide[1] - wide[0], high[1] - high[0]).clamp(min=1)
    factor = (_BOX - 1 - width.mean((1, 2, 3)) / 2) / longest
    middle = (_SIZE - 1) / 2
    shift = torch.stack([x - middle, y - middle], dim=1)
    return _quantize(_pen(fields, bend, wobble, scale / factor, shift * factor[:, None], width))


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
    # A soft edge, one and a half pixels wide, is what MNIST's scaling left behind.
    return ((width / 2 - distance) / 1.5 + 0.5).clamp(0, 1)


def _quantize(ink: Tensor) -> Tensor:
    return (ink * 255).round().to(torch.uint8)
