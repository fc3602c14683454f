"""Features of a network trained on ImageNet, for photographs: "FID[efficientnet-lite0]"."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ifnormal.detectors.detector import in_batches
from ifnormal.features.extractor import FeatureExtractor
from ifnormal.features.loading import feature_extractor

_BATCH = 32


@dataclass(frozen=True)
class ImageNetFeatures:
    """Pooled features and maps of an extractor, of 8-bit images; `Features` of evaluate.

    Attributes:
        network: the extractor.
    """

    network: FeatureExtractor

    @property
    def extractor(self) -> str:
        """The label of every figure in these features."""
        return self.network.name

    def features(self, images: Tensor) -> Tensor:
        """(N, F) float32 of (..., C, H, W) uint8; the leading shape is flattened to N."""
        return in_batches(self.network.pooled, _flat(images), _BATCH)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Maps of all stages, the finest first, as far as they are above 0."""
        stages = range(len(self.network.channels))
        with torch.inference_mode():
            parts = [
                self.network.maps(part.float() / 255, stages)
                for part in _flat(images).split(_BATCH)
            ]
        return [torch.cat(maps).relu() for maps in zip(*parts, strict=True)]


def imagenet_features() -> ImageNetFeatures:
    """The built-in extractor.

    Raises:
        UserError: see `feature_extractor`.
    """
    return ImageNetFeatures(feature_extractor())


def _flat(images: Tensor) -> Tensor:
    if images.dtype != torch.uint8 or images.ndim < 4 or images.shape[-3] not in (1, 3):
        raise ValueError(
            f"expected (..., 1 or 3, H, W) uint8, got {tuple(images.shape)} {images.dtype}"
        )
    return images.reshape(prod(images.shape[:-3]), *images.shape[-3:])
