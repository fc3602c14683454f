"""What changed between two images: drawn, erased or recoloured, pixel by pixel."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Number = TypeVar("_Number", np.uint8, np.float32)

# Vermilion, blue and purple stay apart for colour-blind readers; the style sheet's legend has them.
BRIGHTER, DARKER, RECOLOURED = (213, 94, 0), (38, 112, 200), (170, 75, 160)
# Below 1, so that faint changes can be seen; the caption says so.
DIFFERENCE_GAMMA = 0.75


def change_parts(
    before: NDArray[np.uint8], after: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How much each pixel changed, (H, W) in [0, 1], and its kinds, (H, W, 3) with the same unit.

    A signed mean over channels would lose the commonest edit of all: yellow turned into cyan takes
    red away and adds as much blue. So a pixel's largest channel (its value, as in HSV) tells how
    much it became brighter or darker, and the rest of its change counts as recoloured.

    Args:
        before, after: (H, W, 3).
    """
    old, new = before.astype(np.float32), after.astype(np.float32)
    full = np.float32(255)
    change = largest(np.abs(new - old)) / full
    value = (largest(new) - largest(old)) / full
    parts = np.stack([value, -value, change - np.abs(value)], axis=-1)
    return change, np.maximum(parts, 0)


def largest(pixels: NDArray[_Number]) -> NDArray[_Number]:
    """The largest of three channels, (..., 3) to (...); NumPy's own `max` is far slower here."""
    found: NDArray[_Number] = np.maximum(pixels[..., 0], pixels[..., 1])
    return np.maximum(found, pixels[..., 2], out=found)


def difference(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What changed between two (H, W, 3) images, as (H, W, 4) red, green, blue, alpha.

    Opacity is the largest change of any channel, lifted by `DIFFERENCE_GAMMA`.
    """
    change, parts = change_parts(before, after)
    return paint(change, parts)


def paint(amount: NDArray[np.float32], parts: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Kinds of change (H, W, 3) as colour, their amount (H, W) in [0, 1] as opacity."""
    total = parts[..., :1] + parts[..., 1:2] + parts[..., 2:]
    colour = parts / np.maximum(total, 1e-6) @ np.array([BRIGHTER, DARKER, RECOLOURED], np.float32)
    alpha = 255 * np.clip(amount, 0, 1)[..., None] ** DIFFERENCE_GAMMA
    painted: NDArray[np.uint8] = np.concatenate([colour, alpha], axis=-1).round().astype(np.uint8)
    return painted
