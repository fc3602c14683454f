"""Labelled images in memory, and the one protocol by which any source provides them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ifnormal.data.checking import BadImage

Split = Literal["train", "test"]


@dataclass(frozen=True)
class LabelledImages:
    """N images of one size and what they show.

    Attributes:
        images: (N, C, H, W) uint8, C of 1 or 3.
        labels: (N,) int64, indices into `class_names`.
        class_names: what the labels mean.
        skipped: files that could not be read and are not among the images.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    skipped: tuple[BadImage, ...] = ()

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be (N, C, H, W) uint8, are {self.images.shape}")
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"{len(self.labels)} labels for {len(self.images)} images")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, chosen: Tensor) -> LabelledImages:
        """Take the images at (M,) int64 indices, or where an (N,) bool mask is set."""
        return LabelledImages(self.images[chosen], self.labels[chosen], self.class_names)


class ImageSource(Protocol):
    """Anything that can read a split of labelled images."""

    def read(self, split: Split) -> LabelledImages:
        """Read one split.

        Raises:
            UserError: the source is missing, damaged, or has no such split.
        """
        ...
