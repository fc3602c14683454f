"""Altered images: outliers made of normal images, with other content in the same frame.

They are for sets whose normal and anomalous images are of one kind, such as road signs. There,
photographs of other things only teach a detector what a sign is, and small damage only what a clean
sign is.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ifnormal.data.files.decoding import Array

_INKS = ((0, 0, 0), (255, 255, 255), (200, 20, 30), (30, 60, 170), (250, 200, 0))
# Each of these changes red, the most frequent colour of signs.
_PERMUTED = ((1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
_VISIBLE = 30  # of 255, mean over the eighth of the pixels that changed most
_ATTEMPTS = 8
_FINER = 3  # scale at which shapes are drawn, for soft edges


def altered_images(normal: Tensor, count: int, seed: int) -> Tensor:
    """Make outliers of normal images.

    Args:
        normal: (N, C, H, W) uint8, at least one, C of 1 or 3.
        count: how many to make.
        seed: of all random choices.

    Returns:
        (count, C, H, W) uint8. Each differs visibly from the image it was made of, unless that
        one has no structure at all.
    """
    rng = Random(f"{seed}:altered images")
    channels = normal.shape[1]
    colour = normal.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    kinds = tuple(_KINDS) if channels == 3 else tuple(k for k in _KINDS if k is not recoloured)
    made = np.empty((count, *colour.shape[1:]), np.uint8)
    for n in range(count):
        for _ in range(_ATTEMPTS):
            image = colour[rng.randrange(len(colour))]
            kind = rng.choice(kinds)
            made[n] = _softly(kind, image, rng) if kind in _DRAWN else kind(image, rng)
            change = np.abs(made[n].astype(int) - image).max(-1)
            if np.sort(change, axis=None)[-change.size // 8 :].mean() >= _VISIBLE:
                break
    return torch.from_numpy(made).permute(0, 3, 1, 2)[:, :channels].contiguous()


def recoloured(image: Array, rng: Random) -> Array:
    """Permute red, green and blue: (H, W, 3) uint8, like all functions below."""
    return image[..., list(rng.choice(_PERMUTED))]


def rewritten(image: Array, rng: Random) -> Array:
    """Paint over the middle with its background colour and draw something else there."""
    side = min(image.shape[:2])
    radius = rng.uniform(0.22, 0.36) * side
    mask, _ = _outline(image, rng.choice(("disc", "square", "diamond")), radius)
    ground = np.quantile(image[mask], rng.choice((0.15, 0.85, 0.85)), axis=0)
    plate = np.where(mask[..., None], ground, image).astype(np.uint8)
    drawn = _scribble(plate, radius, float(ground.mean()), rng, _light(image))
    return np.where(mask[..., None], drawn, plate)


def disordered(image: Array, rng: Random) -> Array:
    """Shuffle 2x2 to 4x4 tiles."""
    tiles = rng.choice((2, 3, 4))
    height, width = image.shape[0] // tiles, image.shape[1] // tiles
    places = [(y * height, x * width) for y in range(tiles) for x in range(tiles)]
    order = places[:]
    while order == places:
        rng.shuffle(order)
    made = image.copy()
    for (y, x), (v, u) in zip(places, order, strict=True):
        made[y : y + height, x : x + width] = image[v : v + height, u : u + width]
    return made


def outlined(image: Array, rng: Random) -> Array:
    """Cover the image with a plate of another shape and colour, often with a drawing on it."""
    side = min(image.shape[:2])
    light = _light(image)
    shape = rng.choice(("triangle", "upturned", "diamond", "square", "disc", "octagon"))
    radius = rng.uniform(0.36, 0.47) * side
    outer, inner = _outline(image, shape, radius)
    rim, ground = (np.array(ink) * light for ink in rng.sample(_INKS, 2))
    plate = np.where(outer[..., None], rim, image)
    plate = np.where(inner[..., None], ground, plate).astype(np.uint8)
    if rng.random() < 0.7:
        plate = _scribble(plate, 0.5 * radius, float(ground.mean()), rng, light)
    return plate


_KINDS: tuple[Callable[[Array, Random], Array], ...] = (
    recoloured,
    rewritten,
    rewritten,
    disordered,
    outlined,
)


_DRAWN = (rewritten, outlined)


def _softly(kind: Callable[[Array, Random], Array], image: Array, rng: Random) -> Array:
    """Draw on the enlarged image and reduce the result; pixels that were not drawn on stay."""
    size = (image.shape[1], image.shape[0])
    large = np.asarray(Image.fromarray(image).resize((_FINER * size[0], _FINER * size[1])))
    made = kind(large, rng)
    changed = Image.fromarray(((made != large).any(-1) * 255).astype(np.uint8))
    share = np.asarray(changed.resize(size, Image.Resampling.BOX))[..., None] / 255
    small = np.asarray(Image.fromarray(made).resize(size, Image.Resampling.BOX))
    mixed: Array = (share * small + (1 - share) * image).round().astype(np.uint8)
    return mixed


def _light(image: Array) -> float:
    """Brightness of white in this image, in (0, 1]."""
    return max(0.15, float(np.quantile(image, 0.9)) / 255)


def _outline(image: Array, shape: str, radius: float) -> tuple[Array, Array]:
    """(H, W) bool masks of a shape in the middle: with and without its rim."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(float)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    distance = {
        "disc": np.hypot(x, y),
        "square": np.maximum(abs(x), abs(y)) * 1.15,
        "diamond": (abs(x) + abs(y)) * 0.85,
        "octagon": np.maximum(np.maximum(abs(x), abs(y)), (abs(x) + abs(y)) * 0.72),
        "triangle": np.maximum(y * 1.3, abs(x) * 1.1 - y * 0.62),
        "upturned": np.maximum(-y * 1.3, abs(x) * 1.1 + y * 0.62),
    }[shape]
    return distance <= radius, distance <= 0.75 * radius


def _scribble(image: Array, radius: float, ground: float, rng: Random, light: float) -> Array:
    """Draw strokes and spots in colours that are visible on a background of this brightness."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    middle = ((image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2)
    seen = [ink for ink in _INKS if abs(sum(ink) / 3 * light - ground) > 50] or [_INKS[0]]

    def point() -> tuple[float, float]:
        x, y = (middle[i] + rng.uniform(-0.8, 0.8) * radius for i in (0, 1))
        return x, y

    for _ in range(rng.randint(1, 3)):
        ink = tuple(int(value * light) for value in rng.choice(seen))
        if rng.random() < 0.65:
            points = [point() for _ in range(rng.randint(2, 5))]
            width = max(1, round(rng.uniform(0.12, 0.3) * radius))
            draw.line(points, fill=ink, width=width, joint="curve")
        else:
            x, y = point()
            w, h = (rng.uniform(0.15, 0.5) * radius for _ in range(2))
            spot = draw.ellipse if rng.random() < 0.5 else draw.rectangle
            spot((x - w, y - h, x + w, y + h), fill=ink)
    return np.asarray(picture)
