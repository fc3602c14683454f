"""Heatmaps side by side: an image a column, its mask and each method's heat below it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from torch import Tensor

from ifnormal.benchmarks.sheet import Sheet, heat_picture, mask_picture
from ifnormal.common.pixels import to_pil

_SIDE, _GAP, _LABEL, _TOP = 96, 4, 130, 4
# The share of the shown pixels of a method that are as hot as it gets.
_HOTTEST = 0.995


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
        rows.append(("defect", [mask_picture(mask) for mask in masks]))
    rows += [(title, [heat_picture(one) for one in _scaled(maps)]) for title, maps in heat.items()]
    sheet = Sheet(_LABEL + len(images) * (_SIDE + _GAP), 2 * _TOP + len(rows) * (_SIDE + _GAP))
    for r, (title, pictures) in enumerate(rows):
        top = _TOP + r * (_SIDE + _GAP)
        sheet.say(title, 4, top + _SIDE // 2 - 6)
        for n, picture in enumerate(pictures):
            shown = picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
            sheet.put(shown, _LABEL + n * (_SIDE + _GAP), top)
    return sheet.write(path)


def _scaled(heat: Tensor) -> Tensor:
    """(N, H, W) in [0, 1], from the coldest to the hottest pixel of all."""
    cold, flat = heat.min(), heat.flatten()
    hot = flat.kthvalue(max(1, round(_HOTTEST * flat.numel())))[0]
    return ((heat - cold) / (hot - cold).clamp(min=1e-12)).clamp(0, 1)
