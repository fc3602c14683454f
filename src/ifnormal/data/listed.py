"""Listed images: what a source has, with its labels, before any image of it is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ifnormal.data.images import LabelledImages
from ifnormal.data.reading import Array


@dataclass(frozen=True)
class ListedImages:
    """N images that can be decoded, of one size.

    Attributes:
        labels: (N,) int64, indices into `class_names`.
        class_names: what the labels mean.
        files: where the images are; their names, sizes and times say whether something changed.
        reading: what else decides the pixels, such as channels and size, as text.
        decode: positions of images -> their (M, C, H, W) uint8 pixels. Raises UserError for a
            damaged one.
    """

    labels: Tensor
    class_names: tuple[str, ...]
    files: tuple[Path, ...]
    reading: str
    decode: Callable[[Sequence[int]], Array]

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, chosen: Tensor | None = None) -> LabelledImages:
        """Decode the images at (M,) int64 positions, in that order, or all."""
        at = torch.arange(len(self)) if chosen is None else chosen
        images = torch.from_numpy(self.decode(at.tolist()))
        return LabelledImages(images, self.labels[at], self.class_names)

    def only(self, wanted: Sequence[int], names: Sequence[str]) -> ListedImages:
        """The images of some classes only, the classes in this order and under other names."""
        new = torch.full((len(self.class_names),), -1)
        new[torch.tensor(list(wanted))] = torch.arange(len(wanted))
        at = (new[self.labels] >= 0).nonzero().flatten()
        places = at.tolist()

        def decode(chosen: Sequence[int]) -> Array:
            return self.decode([places[i] for i in chosen])

        return ListedImages(new[self.labels[at]], tuple(names), self.files, self.reading, decode)


def stacked(arrays: Sequence[Array], shape: tuple[int, ...]) -> Array:
    """(M, C, H, W) of arrays of one shape, also of none."""
    return np.stack(arrays) if arrays else np.empty((0, *shape), np.uint8)
