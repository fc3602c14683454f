"""A contact sheet: images, masks and heatmaps side by side, a row an image, a column a kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ifnormal.storage import open_atomic

_SIDE, _GAP, _MARGIN, _TITLE = 80, 4, 12, 18
_PAPER, _INK = (250, 250, 248), (40, 40, 44)
# Black over red and yellow to white, as heat is usually shown.
_HEAT = np.array([(0, 0, 0), (150, 0, 40), (255, 90, 0), (255, 210, 60), (255, 255, 255)])


def write_contact_sheet(path: Path, columns: Mapping[str, Tensor], rows: int = 12) -> Path:
    """Write a PNG of the first rows.

    Args:
        path: of the PNG.
        columns: title -> images (N, 1 or 3, H, W) uint8, masks (N, H, W) bool, or heat (N, H, W)
            float, at least 0, each map scaled by its own maximum.
        rows: the most that are shown.
    """
    count = min(rows, *(len(column) for column in columns.values()))
    width = len(columns) * (_SIDE + _GAP) + 2 * _MARGIN
    sheet = Image.new("RGB", (width, count * (_SIDE + _GAP) + _TITLE + 2 * _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for x, (title, column) in enumerate(columns.items()):
        left = _MARGIN + x * (_SIDE + _GAP)
        draw.text((left, _MARGIN), title[:13], fill=_INK)
        for y in range(count):
            top = _MARGIN + _TITLE + y * (_SIDE + _GAP)
            sheet.paste(_picture(column[y]).resize((_SIDE, _SIDE), _way(column)), (left, top))
    with open_atomic(path) as file:
        sheet.save(file, "png")
    return path


def coloured_heat(heat: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(H, W) heat as (H, W, 3) colours; its maximum is white, 0 is black."""
    scaled = (heat.float() / heat.amax().clamp_min(torch.finfo(torch.float32).tiny)).clamp(0, 1)
    place = scaled.numpy() * (len(_HEAT) - 1)
    below = np.minimum(place.astype(int), len(_HEAT) - 2)
    share = (place - below)[..., None]
    mixed = _HEAT[below] * (1 - share) + _HEAT[below + 1] * share
    return mixed.round().astype(np.uint8)


def _picture(content: Tensor) -> Image.Image:
    if content.ndim == 3:
        pixels = content.permute(1, 2, 0).numpy()
        return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")
    if content.dtype == torch.bool:
        return Image.fromarray(content.numpy().astype(np.uint8) * 255).convert("RGB")
    return Image.fromarray(coloured_heat(content))


def _way(column: Tensor) -> Image.Resampling:
    return Image.Resampling.NEAREST if column.shape[-1] <= _SIDE else Image.Resampling.LANCZOS
