"""Heatmaps side by side: an image a column, its mask and each method's heat below it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ifnormal.pixels import to_pil
from ifnormal.storage import open_atomic

_SIDE, _GAP, _LABEL, _TOP = 96, 4, 130, 4
_PAPER, _INK = (250, 250, 248), (40, 40, 44)
# The share of the shown pixels of a method that are as hot as it gets.
_HOTTEST = 0.995

_Pixels: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"


def write_heatmap_sheet(
    path: Path, images: Tensor, masks: Tensor | None, heat: Mapping[str, Tensor]
) -> Path:
    """Write a PNG: rows are the images, their masks if known, and one row a method.

    The colours of a row go from black to white over all its images alike, so that an image that a
    method finds cold beside the others looks cold.

    Args:
        path: of the PNG.
        images: (N, C, H, W) uint8, all of which are shown.
        masks: (N, H, W) bool.
        heat: title -> (N, H, W).
    """
    rows: list[tuple[str, list[Image.Image]]] = [("image", [to_pil(image) for image in images])]
    if masks is not None:
        white = [Image.fromarray(mask.numpy().astype(np.uint8) * 255) for mask in masks]
        rows.append(("defect", white))
    rows += [(title, [Image.fromarray(one) for one in _coloured(h)]) for title, h in heat.items()]
    size = (_LABEL + len(images) * (_SIDE + _GAP), 2 * _TOP + len(rows) * (_SIDE + _GAP))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for r, (title, pictures) in enumerate(rows):
        top = _TOP + r * (_SIDE + _GAP)
        draw.text((4, top + _SIDE // 2 - 6), title, fill=_INK)
        for n, picture in enumerate(pictures):
            shown = picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
            sheet.paste(shown, (_LABEL + n * (_SIDE + _GAP), top))
    with open_atomic(path) as file:
        sheet.save(file, "png")
    return path


def _coloured(heat: Tensor) -> list[_Pixels]:
    """(H, W, 3) pictures: black, red, yellow, white, from the coldest to the hottest pixel."""
    cold, flat = heat.min(), heat.flatten()
    hot = flat.kthvalue(max(1, round(_HOTTEST * flat.numel())))[0]
    warmth = ((heat - cold) / (hot - cold).clamp(min=1e-12)).clamp(0, 1)
    channels = [(3 * warmth - start).clamp(0, 1) for start in (0, 1, 2)]
    pixels = (255 * torch.stack(channels, -1)).round().to(torch.uint8)
    return [one.numpy() for one in pixels]
