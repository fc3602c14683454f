"""Pixels: images as 8 bit at rest, as floats in [0, 1] in a network, as PNG on disk."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_pil(image: Tensor) -> Image.Image:
    """One (C, H, W) uint8 image, C of 1 or 3, as a Pillow image."""
    array = image.cpu().permute(1, 2, 0).numpy().astype(np.uint8)
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def png_bytes(image: Tensor) -> bytes:
    """One (C, H, W) uint8 image as the bytes of a PNG file."""
    buffer = BytesIO()
    to_pil(image).save(buffer, format="PNG")
    return buffer.getvalue()


def quantize(images: Tensor) -> Tensor:
    """[0, 1] float images as 8 bit, rounded as a saved PNG would be."""
    return images.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)


def to_float(images: Tensor) -> Tensor:
    """8-bit images as float32 in [0, 1]."""
    return images.float() / 255
