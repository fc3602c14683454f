"""Defects of colour: hue, saturation, brightness and contrast of a part or the whole image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ifnormal.data.synthetic import shapes


def jitter(image: Tensor, rng: torch.Generator, strength: float) -> Tensor:
    """Change brightness, contrast and, of RGB, saturation and hue; `strength` in [0, 1]."""
    brightness = shapes.uniform(rng, -strength, strength)
    contrast = math.exp(shapes.uniform(rng, -strength, strength))
    middle = image.mean()
    changed = (image - middle) * contrast + middle + brightness
    if image.shape[0] == 3:
        saturation = math.exp(shapes.uniform(rng, -2 * strength, strength))
        changed = hue_turned(changed, shapes.uniform(rng, -strength, strength) * math.pi)
        grey = changed.mean(0, keepdim=True)
        changed = grey + (changed - grey) * saturation
    return changed.clamp(0, 1)


def hue_turned(image: Tensor, angle: float) -> Tensor:
    """Rotate the colours of (3, H, W) by `angle` (radians) about the grey axis."""
    cosine, sine = math.cos(angle), math.sin(angle) / math.sqrt(3)
    turn = torch.full((3, 3), (1 - cosine) / 3) + cosine * torch.eye(3)
    turn += sine * torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return torch.einsum("ij,jhw->ihw", turn, image)


def stain(image: Tensor, donor: Tensor, rng: torch.Generator) -> Tensor:
    """Change the colours of a ragged part of the image, (C, H, W) in [0, 1]."""
    mask = shapes.blob(rng, image, (0.03, 0.2))
    return image + mask * (jitter(image, rng, 0.8) - image)


def recolour(image: Tensor, donor: Tensor, rng: torch.Generator) -> Tensor:
    """Change the colours of the whole image."""
    return jitter(image, rng, 0.8)
