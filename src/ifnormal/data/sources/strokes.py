"""Letter shapes as pen strokes: font glyphs thinned to their centre lines."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, features
from torch import Tensor
from torch.nn import functional

from ifnormal.common.errors import UserError

GRID, GLYPH = 80, 48
REACH = 16

# Fonts of matplotlib with few serifs, which handwriting lacks. Bold fonts have the same centre
# lines, and the others are symbol fonts.
_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "STIXGeneralItalic",
    "cmmi10",
    "cmss10",
    "cmti10",
)


@cache
def letter_fields(letters: str) -> tuple[Tensor, Tensor]:
    """Distance of every point to the centre line of each letter in each font.

    Returns:
        (M, 1, 80, 80) float32 distances in grid pixels, at most 16, which is their value along the
        edge; and (M,) int64 indices into `letters`.
    """
    fonts = _fonts()
    glyphs = torch.stack([_glyph(font, letter) for font in fonts for letter in letters])
    return _distance(_thin(glyphs)).unsqueeze(1), torch.arange(len(letters)).repeat(len(fonts))


def font_names() -> tuple[str, ...]:
    """Names of the fonts of the letters."""
    return tuple(" ".join(part for part in font.getname() if part) for font in _fonts())


@cache
def _fonts() -> tuple[ImageFont.FreeTypeFont, ...]:
    if not features.check("freetype2"):
        raise UserError(
            "This build of Pillow cannot draw letters, for it lacks FreeType; "
            "run pip install --force-reinstall pillow."
        )
    # matplotlib itself is not imported, which takes a second and writes a cache.
    spec = find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
        paths = [folder / f"{name}.ttf" for name in _FONTS]
        fonts = tuple(ImageFont.truetype(str(path), 64) for path in paths if path.is_file())
        if fonts:
            return fonts
    fallback = ImageFont.load_default(64)
    assert isinstance(fallback, ImageFont.FreeTypeFont)
    return (fallback,)


def _glyph(font: ImageFont.FreeTypeFont, letter: str) -> Tensor:
    """(80, 80) bool: the letter, its longer side 48 pixels, in the middle."""
    canvas = Image.new("L", (160, 160))
    ImageDraw.Draw(canvas).text((48, 32), letter, fill=255, font=font)
    ink = canvas.crop(canvas.getbbox())
    scale = GLYPH / max(ink.size)
    size = (max(1, round(ink.width * scale)), max(1, round(ink.height * scale)))
    grid = Image.new("L", (GRID, GRID))
    grid.paste(
        ink.resize(size, Image.Resampling.BICUBIC), ((GRID - size[0]) // 2, (GRID - size[1]) // 2)
    )
    return torch.from_numpy(np.array(grid)) > 127


def _thin(ink: Tensor) -> Tensor:
    """Zhang and Suen's parallel thinning (CACM 1984) of (M, H, W) bool shapes, all at once.

    A border pixel is removed if it neither ends a line nor connects two parts of it.
    """
    ink = ink.clone()
    while True:
        before = ink.clone()
        for second in (False, True):
            padded = functional.pad(ink, (1, 1, 1, 1))
            height, width = ink.shape[1:]
            # The eight neighbours, clockwise from north.
            ring = [
                padded[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
                for dy, dx in ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
            ]
            count = torch.zeros_like(ink, dtype=torch.uint8)
            starts = torch.zeros_like(count)
            for here, following in zip(ring, ring[1:] + ring[:1], strict=True):
                count += here
                starts += ~here & following
            north, east, south, west = ring[0], ring[2], ring[4], ring[6]
            if second:
                edge = ~(north & east & west) & ~(north & south & west)
            else:
                edge = ~(north & east & south) & ~(east & south & west)
            ink &= ~((count >= 2) & (count <= 6) & (starts == 1) & edge)
        if torch.equal(ink, before):
            return ink


def _distance(lines: Tensor) -> Tensor:
    """(M, H, W) Euclidean distance to the nearest True pixel, at most REACH."""
    squared = torch.where(lines, 0.0, float(REACH**2))
    for axis in (1, 2):
        # Squared distances can be minimised along one axis after the other.
        best = squared
        for step in range(1, REACH + 1):
            for shift in (-step, step):
                best = torch.minimum(best, squared.roll(shift, axis) + step**2)
        squared = best
    return squared.clamp(max=REACH**2).sqrt()
