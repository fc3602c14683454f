"""A sheet: the paper, ink and colours of heat that every picture of a run is drawn with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ifnormal.common.pixels import to_pil
from ifnormal.common.storage import open_atomic
from ifnormal.explanation.explanation import Explanation

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


_SIDE, _GAP, _MARGIN, _BETWEEN, _LINE = 64, 2, 10, 12, 12
# Stripes under an edit: what the detector says, and the width of a heading's letter.
_STRIPE, _LETTER = 3, 6


def write_methods_sheet(path: Path, methods: Mapping[str, Explanation], rows: int = 10) -> Path:
    """Write a PNG: the first anomalies, and what each method makes of them.

    Under each picture is a stripe, green where the detector accepts it and red where it flags it.

    Args:
        path: of the PNG.
        methods: heading -> explanation, all of them of the same anomalies in the same order.
        rows: the most anomalies that are shown.
    """
    first = next(iter(methods.values()))
    rows = min(rows, *(len(one) for one in methods.values()))
    groups = {"anomaly": 1, **{heading: one.concepts for heading, one in methods.items()}}
    wrapped = {heading: _wrapped(heading, _width(count)) for heading, count in groups.items()}
    top = _MARGIN + max(map(len, wrapped.values())) * _LINE + 4
    height = _SIDE + _STRIPE + 2 * _GAP
    width = sum(_width(count) + _BETWEEN for count in groups.values()) - _BETWEEN
    sheet = Sheet(width + 2 * _MARGIN, top + rows * height + _MARGIN)
    left = _MARGIN
    for heading, count in groups.items():
        for n, words in enumerate(wrapped[heading]):
            sheet.say(words, left, _MARGIN + n * _LINE)
        for row in range(rows):
            for k in range(count):
                x, y = left + k * (_SIDE + _GAP), top + row * height
                if heading == "anomaly":
                    pixels, score = first.anomalies[row], first.calibrated_scores_before[row]
                else:
                    made = methods[heading]
                    pixels, score = (
                        made.counterfactuals[row, k],
                        made.calibrated_scores_after[row, k],
                    )
                sheet.put(square_picture(pixels, _SIDE), x, y)
                colour = FLAGGED if score > first.calibrated_threshold else ACCEPTED
                sheet.put(Image.new("RGB", (_SIDE, _STRIPE), colour), x, y + _SIDE)
        left += _width(count) + _BETWEEN
    return sheet.write(path)


def _width(pictures: int) -> int:
    return pictures * (_SIDE + _GAP) - _GAP


def _wrapped(heading: str, width: int) -> list[str]:
    """The heading in lines that are not wider than its pictures, as far as its words allow."""
    lines = [""]
    for word in heading.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) * _LETTER <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


_SIDE, _CAPTION, _GAP, _MARGIN = 96, 14, 4, 14


def write_preview(path: Path, explanation: Explanation, anomalies: int = 16) -> Path:
    """Write a PNG: each anomaly, then its K counterfactuals, with their scores under them.

    Anomalies are taken evenly from all, none chosen. A score is green where the detector accepts
    the image and red where it flags it. Groups of 1 + K pictures fill rows about as wide as high.

    Args:
        path: of the PNG.
        explanation: at least one anomaly.
        anomalies: the most that are shown.
    """
    count = min(anomalies, len(explanation))
    rows = [round(i * (len(explanation) - 1) / max(count - 1, 1)) for i in range(count)]
    pictures = 1 + explanation.concepts
    across = max(1, round((count / pictures) ** 0.5))
    down = -(-count // across)
    cell = (_SIDE + _GAP, _SIDE + _CAPTION + _GAP)
    group = pictures * cell[0] + _MARGIN
    sheet = Sheet(across * group + _MARGIN, down * cell[1] + 2 * _MARGIN)
    for position, n in enumerate(rows):
        left = _MARGIN + (position // down) * group
        top = _MARGIN + (position % down) * cell[1]
        before = (explanation.anomalies[n], float(explanation.calibrated_scores_before[n]))
        after = zip(
            explanation.counterfactuals[n], explanation.calibrated_scores_after[n], strict=True
        )
        for column, (pixels, score) in enumerate([before, *((p, float(s)) for p, s in after)]):
            x = left + column * cell[0]
            sheet.put(square_picture(pixels, _SIDE), x, top)
            colour = FLAGGED if score > explanation.calibrated_threshold else ACCEPTED
            sheet.say(f"{score:.2f}", x + 2, top + _SIDE + 1, colour)
        sheet.say("->", left + _SIDE - 14, top + _SIDE + 1)
    return sheet.write(path)
