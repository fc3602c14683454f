"""Safe reading: whatever file a user has, an 8-bit array or one sentence about what is wrong."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ifnormal.errors import UserError

Array = np.ndarray[Any, np.dtype[np.uint8]]


def decode(
    source: Path | bytes,
    channels: Literal[1, 3],
    name: str,
    size: tuple[int, int] | None = None,
) -> Array:
    """Decode one image, upright, whatever its mode.

    Args:
        source: a file, or the bytes of one.
        channels: 1 for grey, 3 for RGB.
        name: what an error message shall call it.
        size: (height, width) to scale the whole frame to. The aspect ratio is not kept: a border
            would be an anomaly of its own, a crop might cut the anomaly off.

    Returns:
        (channels, H, W) uint8.

    Raises:
        UserError: the image is missing, damaged, or of a kind that has no 8-bit reading.
    """
    try:
        with warnings.catch_warnings():
            # Pillow grumbles about odd metadata; what counts is whether there is an image.
            warnings.simplefilter("ignore", UserWarning)
            # Of an image that is suspiciously large it only warns, and then decodes it.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as opened:
                image = _eight_bit(ImageOps.exif_transpose(opened), channels)
    except (
        # Pillow's decoders meet damage with any of these.
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        Image.DecompressionBombWarning,
        Image.DecompressionBombError,
    ) as error:
        raise UserError(
            f"{name} cannot be read as an image ({_reason(error)}); restore it or leave it out."
        ) from None
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    array: Array = np.array(image, dtype=np.uint8)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _reason(error: Exception | Warning) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no known image format"
    strerror = error.strerror if isinstance(error, OSError) else None
    return strerror or str(error) or type(error).__name__


def _eight_bit(image: Image.Image, channels: Literal[1, 3]) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):
        # 16-bit grey; Pillow's own conversion would clip everything above 255 to white.
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # What hides under full transparency is arbitrary; show it as a viewer would.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if channels == 1 else "RGB")
