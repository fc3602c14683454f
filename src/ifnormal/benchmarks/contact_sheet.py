"""A contact sheet: images, masks and heatmaps side by side, a row an image, a column a kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ifnormal.benchmarks.sheet import Sheet, heat_picture, mask_picture
from ifnormal.common.pixels import to_pil

_SIDE, _GAP, _MARGIN, _TITLE = 80, 4, 12, 18


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
    sheet = Sheet(width, count * (_SIDE + _GAP) + _TITLE + 2 * _MARGIN)
    for x, (title, column) in enumerate(columns.items()):
        left = _MARGIN + x * (_SIDE + _GAP)
        sheet.say(title[:13], left, _MARGIN)
        for y in range(count):
            picture = _picture(column[y]).convert("RGB").resize((_SIDE, _SIDE), _way(column))
            sheet.put(picture, left, _MARGIN + _TITLE + y * (_SIDE + _GAP))
    return sheet.write(path)


def _picture(content: Tensor) -> Image.Image:
    if content.ndim == 3:
        return to_pil(content)
    if content.dtype == torch.bool:
        return mask_picture(content)
    return heat_picture(content / content.amax().clamp_min(torch.finfo(torch.float32).tiny))


def _way(column: Tensor) -> Image.Resampling:
    return Image.Resampling.NEAREST if column.shape[-1] <= _SIDE else Image.Resampling.LANCZOS
