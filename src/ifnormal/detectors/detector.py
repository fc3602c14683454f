"""Detector: the one protocol that everything to be explained has to meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ifnormal.pixels import to_float


class Detector(Protocol):
    """A frozen, differentiable anomaly detector φ: a callable with facts, not a framework.

    Attributes:
        shape: (C, H, W) of the images it takes.
        threshold: scores above it are flagged as anomalous.
    """

    shape: tuple[int, int, int]
    threshold: float

    def __call__(self, images: Tensor) -> Tensor:
        """Scores (N,) in [0, 1], 0 normal, of (N, C, H, W) float images in [0, 1]."""
        ...

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (N,) of the scores and (N, F) penultimate features.

        Log-odds, because a score close to 0 or 1 has no gradient left.
        """
        ...


def in_batches(
    function: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = 512
) -> Tensor:
    """Apply `function` to (N, C, H, W) uint8 images as [0, 1] floats, batch by batch, no gradient.

    The result is float32 on the CPU.
    """
    with torch.no_grad():
        parts = [function(to_float(part)).float().cpu() for part in images.split(batch_size)]
    return torch.cat(parts)
