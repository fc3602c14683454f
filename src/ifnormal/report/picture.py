"""Pictures inside the page: read from the folder, made small, written as data URIs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from ifnormal.common.errors import UserError
from ifnormal.report.colour_change import BRIGHTER

Pixels = NDArray[np.uint8]
Kind = Literal["image", "difference", "heatmap", "strip"]

# Up to this side the pixels themselves are the subject: kept bit for bit and shown as squares.
PIXELATED_SIDE = 48
# Larger ones would only be scaled down by the browser; a page of a few MB opens at once.
LARGEST_SIDE = 256
LARGEST_FRAME_SIDE = 128
LARGEST_DIFFERENCE_SIDE = 128
THUMBNAIL_SIDE = 88
QUALITY = 80
# No image format that browsers show goes further.
_WEBP_LIMIT = 16_383


@dataclass(frozen=True)
class Picture:
    """One image of the page.

    Attributes:
        kind: a class of the style sheet.
        label: the few words above it.
        alt: a description for readers who cannot see it.
        src: a data URI.
        width, height: in pixels of the data.
        pixelated: show its pixels as squares.
    """

    kind: Kind
    label: str
    alt: str
    src: str
    width: int
    height: int
    pixelated: bool


def make_picture(
    kind: Kind, label: str, alt: str, pixels: Pixels, side: int = LARGEST_SIDE
) -> Picture:
    """An (H, W, 3 or 4) image, at most `side` long."""
    small = shrink(pixels, side)
    height, width = small.shape[:2]
    exact = is_small(pixels)
    return Picture(kind, label, alt, data_uri(small, exact), width, height, exact)


def strip_picture(frames: Sequence[Pixels], label: str, alt: str, side: int) -> Picture:
    """A traversal as a film strip, each frame at most `side` long."""
    height, width = shrink(frames[0], side).shape[:2]
    uri = strip_uri(frames, side)
    return Picture("strip", label, alt, uri, width * len(frames), height, is_small(frames[0]))


def read_pixels(folder: Path, file: str) -> Pixels:
    """A PNG of an explanation folder as (H, W, 3) uint8; a grey one has three equal channels.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with Image.open(folder / file) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        reason = "it is missing" if isinstance(error, FileNotFoundError) else "it is damaged"
        raise UserError(
            f"{folder / file} cannot be shown ({reason}); explain the images again."
        ) from None


def frames_of(strip: Pixels, frames: int, path: str = "a traversal") -> list[Pixels]:
    """The frames of a (H, T·W, 3) strip, from left to right."""
    if strip.shape[1] % frames:
        raise UserError(
            f"{path} is {strip.shape[1]} pixels wide, which are no {frames} frames; explain the "
            "images again."
        )
    return np.split(strip, frames, axis=1)


def heatmap_pixels(heatmap: Pixels) -> Pixels:
    """A grey (H, W, 3) map as opacity of one colour, (H, W, 4)."""
    colour = np.broadcast_to(np.array(BRIGHTER, np.uint8), heatmap.shape)
    return np.concatenate([colour, heatmap[..., :1]], axis=-1)


def image_uri(pixels: Pixels, side: int = LARGEST_SIDE) -> str:
    """An (H, W, 3 or 4) picture: exact while small, otherwise at most `side` long and lossy."""
    return data_uri(shrink(pixels, side), exact=is_small(pixels))


def strip_uri(frames: Sequence[Pixels], side: int = LARGEST_FRAME_SIDE) -> str:
    """Frames side by side in one image, so that a slider needs no other."""
    exact = is_small(frames[0])
    return data_uri(np.concatenate([shrink(frame, side) for frame in frames], axis=1), exact)


def is_small(pixels: Pixels) -> bool:
    """Whether its pixels are shown as squares, and therefore as they are."""
    return bool(max(pixels.shape[:2]) <= PIXELATED_SIDE)


def shrink(pixels: Pixels, side: int) -> Pixels:
    """The picture with its longer side at most `side`."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return pixels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def data_uri(pixels: Pixels, exact: bool) -> str:
    """As WebP where Pillow was built with it and the picture is not too wide for it, else PNG."""
    kind, options = "png", dict[str, Any]()
    if _has_webp() and max(pixels.shape[:2]) <= _WEBP_LIMIT:
        kind = "webp"
        lossless = {"lossless": True, "quality": 0, "method": 0, "exact": False}
        options = lossless if exact else {"quality": QUALITY, "alpha_quality": 80, "method": 2}
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return f"data:image/{kind};base64,{b64encode(buffer.getvalue()).decode()}"


@cache
def _has_webp() -> bool:
    return bool(features.check("webp"))
