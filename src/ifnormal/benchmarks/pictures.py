"""Pictures of runs: PNG grids of images, masks and heatmaps under headings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ifnormal.common.pixels import to_pil
from ifnormal.common.storage import open_atomic
from ifnormal.explanation.explanation import Explanation

Colour: TypeAlias = tuple[int, int, int]
Pixels: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"

PAPER, INK = (250, 250, 248), (40, 40, 44)
# The detector's decision about an image.
ACCEPTED, FLAGGED = (18, 110, 60), (178, 34, 34)
SIDE, GAP, MARGIN = 96, 4, 12
LINE, STRIPE = 13, 3
_LETTER = 6  # width of a letter in pixels
_PIXELATED = 48  # up to this size each pixel stays a visible square
# Share of the pixels at and above which heat has the brightest colour.
_HOTTEST = 0.995


@dataclass(frozen=True)
class Tile:
    """One picture of a grid.

    Attributes:
        picture: shown in the middle of a square; its proportions are kept.
        colour: of a stripe under the picture and of the caption; None draws no stripe.
        caption: a word under the picture.
    """

    picture: Image.Image
    colour: Colour | None = None
    caption: str = ""


def write_grid(
    path: Path, groups: Sequence[tuple[str, Sequence[Sequence[Tile]]]], side: int = SIDE
) -> Path:
    """Write a PNG: groups of columns side by side, each group under its heading.

    Args:
        path: of the PNG.
        groups: (heading, rows of tiles); row n of all groups stands at the same height.
        side: of a tile's square, in pixels.
    """
    tiles = [tile for _, rows in groups for row in rows for tile in row]
    foot = STRIPE * any(tile.colour for tile in tiles) + LINE * any(t.caption for t in tiles)
    height = side + foot + GAP
    widths = [max(map(len, rows), default=1) * (side + GAP) for _, rows in groups]
    headings = [
        wrap(group[0], width // _LETTER) for group, width in zip(groups, widths, strict=True)
    ]
    top = MARGIN + LINE * max(map(len, headings), default=0)
    most = max((len(rows) for _, rows in groups), default=0)
    width = sum(widths) + GAP * (len(groups) - 1) + 2 * MARGIN
    sheet = Image.new("RGB", (width, top + most * height + MARGIN), PAPER)
    draw, left = ImageDraw.Draw(sheet), MARGIN
    for (_, rows), lines, width in zip(groups, headings, widths, strict=True):
        for n, line in enumerate(lines):
            draw.text((left, MARGIN + n * LINE), line, fill=INK)
        for r, row in enumerate(rows):
            for k, tile in enumerate(row):
                x, y = left + k * (side + GAP), top + r * height
                sheet.paste(_square(tile.picture, side), (x, y))
                if tile.colour is not None:
                    below = (x, y + side, x + side - 1, y + side + STRIPE - 1)
                    draw.rectangle(below, fill=tile.colour)
                draw.text((x + 2, y + side + STRIPE), tile.caption, fill=tile.colour or INK)
        left += width + GAP
    with open_atomic(path) as file:
        sheet.save(file, "png")
    return path


def write_columns(path: Path, columns: Mapping[str, Tensor], rows: int = 12) -> Path:
    """Write a PNG with a column of pictures for each title, and a row for each of the first images.

    Args:
        path: of the PNG.
        columns: title -> N images, masks or heatmaps, in the shapes that `picture` takes.
        rows: the most that are shown.
    """
    count = min(rows, *map(len, columns.values()))
    groups = [
        (title, [[Tile(picture(one))] for one in column[:count]])
        for title, column in columns.items()
    ]
    return write_grid(path, groups)


def write_preview(path: Path, explanation: Explanation, anomalies: int = 16) -> Path:
    """Write a PNG: anomalies and, beside each, its K counterfactuals, with the detector's scores.

    The anomalies are taken at even distances from all of them.

    Args:
        path: of the PNG.
        explanation: of at least one anomaly.
        anomalies: the most that are shown.
    """
    count = min(anomalies, len(explanation))
    shown = [round(i * (len(explanation) - 1) / max(count - 1, 1)) for i in range(count)]
    before, after = explanation.calibrated_scores_before, explanation.calibrated_scores_after
    rows = [
        decided(explanation.anomalies[n, None], before[n, None], explanation)
        + decided(explanation.counterfactuals[n], after[n], explanation)
        for n in shown
    ]
    down = -(-count // max(1, round((count / len(rows[0])) ** 0.5)))
    return write_grid(path, [("", rows[i : i + down]) for i in range(0, count, down)])


def decided(images: Tensor, scores: Tensor, of: Explanation) -> list[Tile]:
    """Images (M, C, H, W) uint8 with their calibrated scores (M,), green where accepted."""
    return [
        Tile(
            picture(image), FLAGGED if score > of.calibrated_threshold else ACCEPTED, f"{score:.2f}"
        )
        for image, score in zip(images, scores, strict=True)
    ]


def picture(content: Tensor) -> Image.Image:
    """A (C, H, W) uint8 image, a (H, W) bool mask or (H, W) heat in [0, 1] as an RGB picture.

    Masks are white where they are true. Heat goes from black over red and yellow to white.
    """
    if content.ndim == 3:
        return to_pil(content).convert("RGB")
    channels = [(3 * content.cpu().float() - start).clamp(0, 1) for start in (0, 1, 2)]
    pixels: Pixels = (255 * torch.stack(channels, -1)).round().to(torch.uint8).numpy()
    return Image.fromarray(pixels)


def scaled_alone(heat: Tensor) -> Tensor:
    """(N, H, W) heat, at least 0, to [0, 1]: the hottest pixel of each map is 1."""
    return heat / heat.amax((1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)


def scaled_together(heat: Tensor) -> Tensor:
    """(N, H, W) heat to [0, 1], in one scale: a map that is cold beside the others looks cold."""
    cold, flat = heat.min(), heat.flatten()
    hot = flat.kthvalue(max(1, round(_HOTTEST * flat.numel())))[0]
    return ((heat - cold) / (hot - cold).clamp(min=1e-12)).clamp(0, 1)


def _square(picture: Image.Image, side: int) -> Image.Image:
    """The picture in the middle of a square of paper; small ones keep their pixels."""
    longest = max(picture.size)
    small = longest <= _PIXELATED
    factor = max(1, side // longest) if small else side / longest
    size = round(picture.width * factor), round(picture.height * factor)
    scaled = picture.resize(size, Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)
    square = Image.new("RGB", (side, side), PAPER)
    square.paste(scaled, ((side - scaled.width) // 2, (side - scaled.height) // 2))
    return square
