"""Labelled images: in memory, or on disk and decoded on demand; the protocol of their sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ifnormal.data.files.decoding import Array

Split = Literal["train", "test"]


@dataclass(frozen=True)
class LabelledImages:
    """N images of one size with their labels.

    Attributes:
        images: (N, C, H, W) uint8, C of 1 or 3.
        labels: (N,) int64, indices into `class_names`.
        class_names: names of the labels.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be (N, C, H, W) uint8, are {self.images.shape}")
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"{len(self.labels)} labels for {len(self.images)} images")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, chosen: Tensor) -> LabelledImages:
        """The images at (M,) int64 indices, or where an (N,) bool mask is set."""
        return LabelledImages(self.images[chosen], self.labels[chosen], self.class_names)


@dataclass(frozen=True)
class LazyImages:
    """N labelled images of one size that are decoded on demand.

    Attributes:
        labels: (N,) int64, indices into `class_names`.
        class_names: names of the labels.
        files: the files of the images; their names, sizes and times identify the content.
        reading: what else determines the pixels, such as channels and size, as text.
        decode: positions of images -> their (M, C, H, W) uint8 pixels. Raises UserError for a
            damaged image.
    """

    labels: Tensor
    class_names: tuple[str, ...]
    files: tuple[Path, ...]
    reading: str
    decode: Callable[[Sequence[int]], Array]

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, chosen: Tensor | None = None) -> LabelledImages:
        """Decode the images at (M,) int64 positions, in that order; None decodes all."""
        at = torch.arange(len(self)) if chosen is None else chosen
        images = torch.from_numpy(self.decode(at.tolist()))
        return LabelledImages(images, self.labels[at], self.class_names)

    def only(self, wanted: Sequence[int], names: Sequence[str]) -> LazyImages:
        """Only the images of the classes `wanted`, which get the given names in this order."""
        new = torch.full((len(self.class_names),), -1)
        new[torch.tensor(list(wanted))] = torch.arange(len(wanted))
        at = (new[self.labels] >= 0).nonzero().flatten()
        places = at.tolist()

        def decode(chosen: Sequence[int]) -> Array:
            return self.decode([places[i] for i in chosen])

        return LazyImages(new[self.labels[at]], tuple(names), self.files, self.reading, decode)


class ImageSource(Protocol):
    """Whatever can read a split of labelled images."""

    def read(self, split: Split) -> LabelledImages:
        """Read one split.

        Raises:
            UserError: the source is missing, damaged, or has no such split.
        """
        ...


def stacked(arrays: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """Stack M arrays of one shape; M may be 0."""
    return np.stack(arrays) if arrays else np.empty((0, *shape), np.uint8)
