"""Receptive field: the pixels that a unit of a fully convolutional network reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

_PLAIN = (
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
    nn.BatchNorm2d,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Softplus,
    nn.Sigmoid,
    nn.Tanh,
)


@dataclass(frozen=True)
class ReceptiveField:
    """Along one axis: unit i reads pixels offset + i · stride up to size − 1 further.

    Some of these may lie outside the image, in the padding or where a pooling rounds its size up
    (`ceil_mode`). Dilated layers, and strides larger than kernels, skip pixels in between.

    Attributes:
        size: from the first to the last pixel that a unit reads.
        stride: how many pixels the field moves from a unit to the next.
        offset: the first pixel that unit 0 reads; negative in the padding.
        variance: of the pixel positions, in squared pixels, if all weights are equal. The network
            is then a chain of box filters, whose variances add up, and the weights of the pixels
            are close to a Gaussian (Luo et al. 2016).
    """

    size: int = 1
    stride: int = 1
    offset: int = 0
    variance: float = 0.0

    @property
    def spread(self) -> float:
        """The standard deviation of the pixel positions that a unit reads, in pixels."""
        return math.sqrt(self.variance)

    def pixels(self, unit: int) -> tuple[int, int]:
        """First and last pixel that a unit reads, both inclusive."""
        first = self.offset + unit * self.stride
        return first, first + self.size - 1

    def centre(self, unit: int) -> float:
        """The middle of the pixels that a unit reads; half a pixel where their number is even."""
        first, last = self.pixels(unit)
        return (first + last) / 2

    def through(self, kernel: int, stride: int, padding: int, dilation: int) -> ReceptiveField:
        """The field of units that read `kernel` of these units each."""
        reach = dilation * self.stride
        return ReceptiveField(
            size=self.size + (kernel - 1) * reach,
            stride=self.stride * stride,
            offset=self.offset - padding * self.stride,
            variance=self.variance + reach**2 * (kernel**2 - 1) / 12,
        )


def receptive_fields(network: nn.Sequential) -> tuple[ReceptiveField, ReceptiveField]:
    """The fields of a unit of the network's output along height and along width.

    Args:
        network: convolutions, poolings, `PixelUnshuffle` and layers that work on every pixel by
            itself, in sequences of any depth.

    Raises:
        TypeError: a layer is none of these, such as a linear one: not fully convolutional.
    """
    along = ReceptiveField(), ReceptiveField()
    for layer in _layers(network):
        if isinstance(layer, _PLAIN):
            continue
        fields = [field.through(*_steps(layer, axis)) for axis, field in enumerate(along)]
        along = fields[0], fields[1]
    return along


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    for layer in network:  # type: ignore[attr-defined]
        if isinstance(layer, nn.Sequential):
            yield from _layers(layer)
        else:
            yield layer


def _steps(layer: nn.Module, axis: int) -> tuple[int, int, int, int]:
    """Kernel, stride, padding before the first pixel and dilation of a layer along an axis."""
    if isinstance(layer, nn.PixelUnshuffle):
        return layer.downscale_factor, layer.downscale_factor, 0, 1
    if isinstance(layer, nn.AvgPool2d | nn.MaxPool2d):
        dilation = layer.dilation if isinstance(layer, nn.MaxPool2d) else 1
        return (
            _along(layer.kernel_size, axis),
            _along(layer.stride, axis),
            _along(layer.padding, axis),
            _along(dilation, axis),
        )
    # Other paddings make units at the rim read pixels that are not next to each other.
    if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros":
        kernel, dilation = layer.kernel_size[axis], layer.dilation[axis]
        if layer.padding == "same":
            padding = dilation * (kernel - 1) // 2
        else:
            padding = 0 if isinstance(layer.padding, str) else layer.padding[axis]
        return kernel, layer.stride[axis], padding, dilation
    raise TypeError(f"{layer} has no receptive field that can be computed; use convolutions.")


def _along(value: int | tuple[int, ...], axis: int) -> int:
    return value if isinstance(value, int) else value[axis]
