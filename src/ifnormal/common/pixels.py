"""Pixels: images as 8 bit at rest, as floats in [0, 1] in a network, as PNG on disk."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ifnormal.common.errors import UserError

# Twice as fast as Pillow's default of 6, in 2 % larger files.
_COMPRESSION = 4


def to_pil(image: Tensor) -> Image.Image:
    """One (C, H, W) uint8 image, C of 1 or 3, as a Pillow image."""
    array = image.cpu().permute(1, 2, 0).numpy().astype(np.uint8)
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def png_bytes(image: Tensor) -> bytes:
    """One (C, H, W) uint8 image as the bytes of a PNG file."""
    buffer = BytesIO()
    to_pil(image).save(buffer, format="PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()


def read_png(path: Path, shape: tuple[int, int, int]) -> Tensor:
    """The (C, H, W) uint8 pixels of a PNG file that `png_bytes` made.

    Raises:
        UserError: it is missing or damaged, no PNG, or of another size or kind.
    """
    kind, size = "L" if shape[0] == 1 else "RGB", (shape[2], shape[1])
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            found = (image.mode, image.size)
            image.verify()  # every checksum; a picture cannot be read after it
        if found != (kind, size):
            raise ValueError(f"it is {found[0]} of {found[1]}, not {kind} of {size}")
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            array = np.array(image, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path} is not the picture that was saved ({reason}); restore the folder or write it "
            "again."
        ) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"{path} is far larger than what was saved; restore the folder.") from None
    return torch.from_numpy(array[None] if shape[0] == 1 else array.transpose(2, 0, 1).copy())


def quantize(images: Tensor) -> Tensor:
    """[0, 1] float images as 8 bit, rounded as a saved PNG would be."""
    return images.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)


def to_float(images: Tensor) -> Tensor:
    """8-bit images as float32 in [0, 1]."""
    return images.float() / 255
