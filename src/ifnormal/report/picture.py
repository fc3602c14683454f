"""Pictures inside the page: PNG data URIs, film strips, and what changed between two images."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ifnormal.pixels import png_bytes, quantize, to_float

# Up to this side the pixels themselves are the subject and are shown as squares.
PIXELATED_SIDE = 48
# Larger images would only be scaled down by the browser; a page of a few MB opens at once.
LARGEST_SIDE = 192
LARGEST_DIFFERENCE_SIDE = 128
LARGEST_FRAME_SIDE = 72

# Vermilion, blue and purple stay apart for colour-blind readers; the style sheet's legend has them.
BRIGHTER, DARKER, RECOLOURED = (213, 94, 0), (38, 112, 200), (170, 75, 160)
# Below 1 faint changes are lifted to where one can see them; the caption says so.
DIFFERENCE_GAMMA = 0.75


@dataclass(frozen=True)
class Picture:
    """One image of the page.

    Attributes:
        kind: "image", "difference", "heatmap" or "strip"; the style sheet knows them.
        label: the few words above it.
        alt: what a reader who cannot see it should know.
        src: a PNG data URI.
        width, height: in pixels of the PNG.
        pixelated: show its pixels as squares.
    """

    kind: str
    label: str
    alt: str
    src: str
    width: int
    height: int
    pixelated: bool


def image_picture(image: Tensor, label: str, alt: str) -> Picture:
    """One (C, H, W) uint8 image."""
    image = _shrink(image[None], LARGEST_SIDE)[0]
    return _picture("image", label, alt, png_bytes(image), image)


def strip_picture(frames: Tensor, label: str, alt: str) -> Picture:
    """(T, C, H, W) uint8 frames side by side in one image, so that a slider needs no other."""
    frames = _shrink(frames, LARGEST_FRAME_SIDE)
    strip = torch.cat(list(frames), dim=-1)
    return _picture("strip", label, alt, png_bytes(strip), frames[0], width=strip.shape[-1])


def heatmap_picture(heatmap: Tensor, label: str, alt: str) -> Picture:
    """One (H, W) map with values in [0, 1], as opacity over the page."""
    heatmap = heatmap.float().clamp(0, 1)
    colour = torch.tensor(BRIGHTER).view(3, 1, 1) / 255
    image = quantize(torch.cat([colour.expand(3, *heatmap.shape), heatmap[None]]))
    image = _shrink(image[None], LARGEST_DIFFERENCE_SIDE)[0]
    return _picture("heatmap", label, alt, _rgba_bytes(image), image)


def difference_picture(before: Tensor, after: Tensor, label: str, alt: str) -> Picture:
    """What changed between two (C, H, W) uint8 images; see `difference`."""
    image = _shrink(difference(before, after)[None], LARGEST_DIFFERENCE_SIDE)[0]
    return _picture("difference", label, alt, _rgba_bytes(image), image)


def difference(before: Tensor, after: Tensor) -> Tensor:
    """What changed between two (C, H, W) uint8 images, as (4, H, W) uint8 red, green, blue, alpha.

    A signed mean over channels would lose the commonest edit of all: yellow turned into cyan takes
    red away and adds as much blue. So a pixel's largest channel (its value, as in HSV) tells how
    much it became brighter or darker, and the rest of its change counts as recoloured. Opacity is
    the largest change of any channel, lifted by `DIFFERENCE_GAMMA`.
    """
    old, new = to_float(before), to_float(after)
    change = (new - old).abs().amax(dim=0)
    value = new.amax(dim=0) - old.amax(dim=0)
    parts = torch.stack([value.clamp(min=0), (-value).clamp(min=0), change - value.abs()])
    weights = parts.clamp(min=0) / parts.clamp(min=0).sum(dim=0).clamp(min=1e-6)
    colours = torch.tensor([BRIGHTER, DARKER, RECOLOURED]) / 255
    colour = torch.einsum("phw,pc->chw", weights, colours)
    return quantize(torch.cat([colour, change.pow(DIFFERENCE_GAMMA)[None]]))


def _shrink(images: Tensor, side: int) -> Tensor:
    height, width = images.shape[-2:]
    factor = side / max(height, width)
    if factor >= 1:
        return images
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    smaller = interpolate(to_float(images), size, mode="bilinear", antialias=True)
    return quantize(smaller)


def _rgba_bytes(image: Tensor) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _picture(
    kind: str, label: str, alt: str, png: bytes, image: Tensor, width: int | None = None
) -> Picture:
    return Picture(
        kind=kind,
        label=label,
        alt=alt,
        src="data:image/png;base64," + b64encode(png).decode(),
        width=width or image.shape[-1],
        height=image.shape[-2],
        pixelated=max(image.shape[-2:]) <= PIXELATED_SIDE,
    )
