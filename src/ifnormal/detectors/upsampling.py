"""From a coarse anomaly map to pixels: a fixed Gaussian over each unit's receptive field."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.detectors.receptive_field import ReceptiveField


def gaussian(field: ReceptiveField, like: Tensor) -> Tensor:
    """Weights (size,) of the pixels of a receptive field, with the sum of its stride.

    A Gaussian around the field's middle, as wide as the place that a unit reads is spread, but no
    narrower than half a stride: units would not meet and the map would show their grid.

    Args:
        field: of one axis.
        like: a tensor of the device and type wanted.
    """
    width = max(field.spread, field.stride / 2)
    place = torch.arange(field.size, dtype=like.dtype, device=like.device) - (field.size - 1) / 2
    weights = torch.exp(-0.5 * (place / width) ** 2)
    return weights * (field.stride / weights.sum())


def upsample(
    maps: Tensor, fields: tuple[ReceptiveField, ReceptiveField], size: tuple[int, int]
) -> Tensor:
    """Every unit's value, spread over the pixels that it reads (algorithm 1 of FCDD).

    A strided transposed convolution, differentiable. The kernel is scaled so that the interior of
    a constant map stays as it is; towards the rim, where fewer units read a pixel, it fades out as
    in the paper.

    Args:
        maps: (N, h, w), one value a unit.
        fields: of the network that made them, along height and along width.
        size: (H, W) of its images.

    Returns:
        (N, H, W).
    """
    spread = maps[:, None]
    for axis, field in enumerate(fields):
        shape = [1, 1, 1, 1]
        shape[2 + axis] = field.size
        stride = [1, 1]
        stride[axis] = field.stride
        kernel = gaussian(field, maps).view(shape)
        spread = F.conv_transpose2d(spread, kernel, stride=stride)
        # The first row or column is now the first pixel that unit 0 reads.
        before, length = field.offset, spread.shape[2 + axis]
        edges = [before, size[axis] - before - length]
        spread = F.pad(spread, edges if axis else [0, 0, *edges])
    return spread[:, 0]
