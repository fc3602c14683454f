"""FeatureExtractor: the base class of frozen networks whose features detectors are built on."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

# Of images at once: more of them are slower on a processor, as their maps leave its cache.
_ON_CPU, _ON_GPU = 4, 64


class FeatureExtractor(nn.Module, ABC):
    """A frozen, differentiable network that was trained on other images.

    Images are (N, C, H, W) float in [0, 1], C of 1 or 3 and of any size and number; the network
    resizes and normalises them itself. A subclass defines `compute_maps` and `compute_pooled`.

    Attributes:
        name: the SPEC that `feature_extractor` makes the same network of, with the exact weights
            where they have versions.
        side: images are resized to squares of so many pixels.
        channels: of the maps of each stage, the finest stage first.
        middle: stages whose maps are neither edges nor classes of ImageNet; detectors of patches
            read these by default.
    """

    name: str
    side: int
    channels: tuple[int, ...]
    middle: tuple[int, ...]
    _seen: dict[bytes, dict[int, Tensor]] | None = None

    def maps(self, images: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Maps (N, C_i, h_i, w_i) of some stages, in the order of `stages`."""
        if self._seen is None or torch.is_grad_enabled() or not len(images):
            return self._maps(images, stages)
        return self._remembered(images, stages, self._seen)

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Compute the maps of an image only once meanwhile, where no gradient is asked for.

        Those of the middle stages and of the last one are kept: about 300 kB an image.
        """
        self._seen = {}
        try:
            yield
        finally:
            self._seen = None

    def pooled(self, images: Tensor) -> Tensor:
        """Features (N, F) of whole images."""
        return torch.cat([self.compute_pooled(part) for part in self._split(images)])

    @abstractmethod
    def compute_maps(self, images: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """`maps` of a few images."""

    @abstractmethod
    def compute_pooled(self, images: Tensor) -> Tensor:
        """`pooled` of a few images."""

    def resized(self, images: Tensor) -> Tensor:
        """(N, 3, side, side) in [0, 1], what a subclass normalises as its network was trained."""
        size = (self.side, self.side)
        grown = F.interpolate(images, size, mode="bicubic", align_corners=False, antialias=True)
        return grown.clamp(0, 1).expand(-1, 3, -1, -1)

    def freeze(self) -> Self:
        """Evaluation mode, no gradient to the weights; itself."""
        return self.eval().requires_grad_(False)

    def _maps(self, images: Tensor, stages: Sequence[int]) -> list[Tensor]:
        parts = [self.compute_maps(part, stages) for part in self._split(images)]
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def _remembered(
        self, images: Tensor, stages: Sequence[int], seen: dict[bytes, dict[int, Tensor]]
    ) -> list[Tensor]:
        keys = [_key(image) for image in images]
        new = {
            key: row
            for row, key in enumerate(keys)
            if any(stage not in seen.get(key, {}) for stage in stages)
        }
        if new:
            kept = sorted({*stages, *self.middle, len(self.channels) - 1})
            computed = self._maps(images[list(new.values())], kept)
            for n, key in enumerate(new):
                own = {stage: maps[n] for stage, maps in zip(kept, computed, strict=True)}
                seen.setdefault(key, {}).update(own)
        return [torch.stack([seen[key][stage] for key in keys]) for stage in stages]

    def _split(self, images: Tensor) -> tuple[Tensor, ...]:
        return images.split(_ON_GPU if images.is_cuda else _ON_CPU)


def _key(image: Tensor) -> bytes:
    return hashlib.blake2b(image.cpu().contiguous().numpy().tobytes(), digest_size=16).digest()
