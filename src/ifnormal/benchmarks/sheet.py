"""A sheet: the paper, ink and colours of heat that every picture of a run is drawn with."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ifnormal.common.pixels import to_pil
from ifnormal.common.storage import open_atomic

PAPER, INK = (250, 250, 248), (40, 40, 44)
# Of what the detector says of an image.
ACCEPTED, FLAGGED = (18, 110, 60), (178, 34, 34)
_SMALL = 48

Pixels: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"


class Sheet:
    """An empty sheet to put pictures and words on.

    Args:
        width, height: in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGB", (width, height), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def put(self, picture: Image.Image, left: int, top: int) -> None:
        """A picture, its upper left corner here."""
        self._image.paste(picture, (left, top))

    def say(self, words: str, left: int, top: int, colour: tuple[int, int, int] = INK) -> None:
        """One line of small type."""
        self._draw.text((left, top), words, fill=colour)

    def write(self, path: Path) -> Path:
        """Save it as a PNG."""
        with open_atomic(path) as file:
            self._image.save(file, "png")
        return path


def square_picture(pixels: Tensor, side: int) -> Image.Image:
    """A (C, H, W) uint8 image in the middle of a square of paper; small ones keep their pixels."""
    image = to_pil(pixels).convert("RGB")
    width, height = image.size
    longest = max(height, width)
    small = longest <= _SMALL
    factor = max(1, side // longest) if small else side / longest
    way = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    image = image.resize((round(width * factor), round(height * factor)), way)
    square = Image.new("RGB", (side, side), PAPER)
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def mask_picture(mask: Tensor) -> Image.Image:
    """(H, W) bool, white where it is true."""
    return Image.fromarray(mask.cpu().numpy().astype(np.uint8) * 255)


def heat_picture(heat: Tensor) -> Image.Image:
    """(H, W) heat in [0, 1]: black, red, yellow, white, from the coldest to the hottest pixel."""
    channels = [(3 * heat.float() - start).clamp(0, 1) for start in (0, 1, 2)]
    pixels: Pixels = (255 * torch.stack(channels, -1)).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(pixels)
