"""Features of a network trained on ImageNet, for photographs: "FID[efficientnet-lite0]"."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.detector import in_batches
from ifnormal.features.extractor import FeatureExtractor
from ifnormal.features.loading import feature_extractor

FeaturesName = Literal["auto", "own", "imagenet"]

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


def features_for(
    setup: AnomalySetup, name: FeaturesName = "auto", has_judge: bool = True
) -> ImageNetFeatures | None:
    """What FID and the like of a setup are measured in, None for features of its own.

    Args:
        setup: the images.
        name: "own" are features of the judge or the second detector, "imagenet" those of the
            built-in extractor, and "auto" the latter for photographs and without a judge. Where
            its weights are not installed, "auto" warns and takes the former.
        has_judge: whether there is a judge.

    Raises:
        UserError: "imagenet" is asked for and not installed.
    """
    is_for_own = name == "auto" and has_judge and setup.pictures != "photographs"
    if name == "own" or is_for_own:
        return None
    try:
        return imagenet_features()
    except UserError as error:
        if name == "imagenet":
            raise
        warnings.warn(
            f"FID and distances are measured in the features of this run alone. {error}",
            stacklevel=2,
        )
        return None


def _flat(images: Tensor) -> Tensor:
    if images.dtype != torch.uint8 or images.ndim < 4 or images.shape[-3] not in (1, 3):
        raise ValueError(
            f"expected (..., 1 or 3, H, W) uint8, got {tuple(images.shape)} {images.dtype}"
        )
    return images.reshape(prod(images.shape[:-3]), *images.shape[-3:])
