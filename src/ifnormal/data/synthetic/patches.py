"""Pasted patches: CutPaste (Li et al. 2021), its scar variant, blobs as in DRAEM (2021), swaps."""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.data.synthetic import shapes
from ifnormal.data.synthetic.colours import jitter
from ifnormal.data.synthetic.geometry import turned


def cut_paste(image: Tensor, donor: Tensor, rng: torch.Generator) -> Tensor:
    """Paste a recoloured and turned box of a normal image elsewhere: (C, H, W) in [0, 1]."""
    top, left, h, w = shapes.box(rng, donor, (0.003, 0.1), shapes.place(rng, donor))
    donor = jitter(donor, rng, 0.4) if shapes.chance(rng, 0.7) else donor
    if shapes.chance(rng, 0.5):
        donor = turned(donor, shapes.uniform(rng, -180, 180))
    y, x = shapes.corner(image, shapes.place(rng, image), h, w)
    edited = image.clone()
    edited[:, y : y + h, x : x + w] = donor[:, top : top + h, left : left + w]
    return edited


def scar(image: Tensor, donor: Tensor, rng: torch.Generator) -> Tensor:
    """A scratch: a thin stroke of one colour, or of another part of a normal image."""
    mask = shapes.scar(rng, image)
    return _filled(image, donor, mask, rng)


def blob(image: Tensor, donor: Tensor, rng: torch.Generator) -> Tensor:
    """A ragged patch of one colour, of texture, or of another part of a normal image."""
    mask = shapes.blob(rng, image)
    return _filled(image, donor, mask, rng)


def swap(image: Tensor, donor: Tensor, rng: torch.Generator) -> Tensor:
    """Exchange two boxes of the image."""
    top, left, h, w = shapes.box(rng, image, (0.005, 0.08), shapes.place(rng, image))
    y, x = shapes.corner(image, shapes.place(rng, image), h, w)
    edited = image.clone()
    edited[:, y : y + h, x : x + w] = image[:, top : top + h, left : left + w]
    edited[:, top : top + h, left : left + w] = image[:, y : y + h, x : x + w]
    return edited


def _filled(image: Tensor, donor: Tensor, mask: Tensor, rng: torch.Generator) -> Tensor:
    _, height, width = image.shape
    kind = int(torch.randint(3, (), generator=rng))
    if kind == 0:
        filling = shapes.colour(rng, image).expand(image.shape)
    elif kind == 1:
        grain = shapes.smooth_noise(rng, height, width, max(2, min(height, width) // 8))
        contrast = (shapes.colour(rng, image) - 0.5) * 0.6
        filling = shapes.colour(rng, image) + grain * contrast
    else:
        shift = torch.randint(min(height, width), (2,), generator=rng).tolist()
        filling = jitter(donor.roll(shift, (1, 2)), rng, 0.3)
    opacity = mask * shapes.uniform(rng, 0.5, 1.0)
    return image + opacity * (filling.clamp(0, 1) - image)
