"""The network of FCDD: only convolutions, so that each output belongs to a place in the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ifnormal.config import SMALL_SIDE
from ifnormal.detectors.builtin.receptive_field import ReceptiveField, receptive_fields


class FullyConvolutional(nn.Module):
    """A plain convolutional network that ends in a map.

    A unit of the map stands for 4x4 pixels of images up to 48 and 8x8 of larger ones, and reads
    several times as many.

    For images up to 48 pixels it has batch normalisation during training, as in the paper; `fold`
    then makes it part of the convolutions, so that an image's map does not depend on its batch.
    Larger images have none: they are few and similar, half of each batch is synthetic anomalies,
    and with these statistics good test images look anomalous (screws: AuROC 39, without it 65).
    """

    def __init__(self, shape: tuple[int, int, int], width: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.size = shape[1:]
        wide, deep = 2 * width, 4 * width
        large = max(self.size) > SMALL_SIDE
        convolutions = [
            nn.Conv2d(4 * shape[0], width, 3, 1, 1, bias=bias),
            nn.Conv2d(width, wide, 3, 2, 1, bias=bias),
            nn.Conv2d(wide, wide, 3, 1, 1, bias=bias),
            nn.Conv2d(wide, deep, 3, 2 if large else 1, 1, bias=bias),
            nn.Conv2d(deep, deep, 3, 1, 1, bias=bias),
        ]
        layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
        for conv in convolutions:
            norm = nn.Identity() if large else nn.BatchNorm2d(conv.out_channels)
            layers += [conv, norm, nn.LeakyReLU(0.1)]
        self.stages = nn.Sequential(*layers)
        self.head = nn.Conv2d(deep, outputs, 1, bias=bias)
        self.fields = receptive_fields(nn.Sequential(self.stages, self.head))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def fold(self) -> None:
        """Merge each batch normalisation into its convolution; there is no more training after."""
        self.eval()
        for at, layer in enumerate(self.stages):
            if isinstance(layer, nn.BatchNorm2d):
                conv = self.stages[at - 1]
                assert isinstance(conv, nn.Conv2d)
                self.stages[at - 1] = fuse_conv_bn_eval(conv, layer)
                self.stages[at] = nn.Identity()

    def fit_statistics(self, normal: Tensor) -> None:
        """Does nothing: statistics of each pixel would not be fully convolutional."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) images in [0, 1] to (N, outputs, h, w) maps and (N, F) features.

        The features are means and maxima of the last stage over the image.
        """
        found = self.stages(images)
        return self.head(found), torch.cat([found.mean((2, 3)), found.amax((2, 3))], 1)

    def upsample(self, maps: Tensor) -> Tensor:
        """(N, h, w) of this network's maps to (N, H, W), over the receptive fields of its units."""
        return upsample(maps, self.fields, self.size)


def gaussian(field: ReceptiveField, like: Tensor) -> Tensor:
    """Weights (size,) of the pixels of a receptive field, which sum to its stride.

    They are a Gaussian around the middle of the field. Its width is the field's `spread`, but at
    least half a stride, as the upsampled map would show the grid of its units otherwise.

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
    """Upsample maps with a Gaussian over the receptive field of each unit (algorithm 1 of FCDD).

    It is a strided transposed convolution, and differentiable. A constant map keeps its value in
    the interior and fades out towards the border, where fewer units read a pixel, as in the paper.

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
