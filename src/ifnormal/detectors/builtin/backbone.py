"""The convolutional network that the built-in detectors train."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ifnormal.config import SMALL_SIDE

_COARSE = 96
_FAR = 5.0
_LEAST_DEVIATION = 0.02


class Backbone(nn.Module):
    """A plain convolutional network without normalisation layers, for small images.

    Batch normalisation would make an image's score depend on its batch, and costs more than the
    convolutions in bfloat16. Without `bias` there is no bias term anywhere, which Deep SVDD needs
    to avoid the constant solution (Ruff et al. 2018, proposition 2).

    Images beyond 48 pixels are read in coarser cells, by further stages down to a grid of about 8,
    and pooled by their maxima, because a mean would hide a small defect. Their input also has the
    distance of each pixel from its mean over normal images, in deviations; see `fit_statistics`.
    """

    usual: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, int, int], width: int, outputs: int, bias: bool) -> None:
        super().__init__()
        wide, deep = 2 * width, 4 * width
        side = max(shape[1:])
        self.step, self.compares = 2 if side < _COARSE else 4, side > SMALL_SIDE
        channels = 2 * shape[0] if self.compares else shape[0]
        if self.compares:
            self.register_buffer("usual", torch.full(shape, 0.5))
            self.register_buffer("deviation", torch.full(shape, 0.25))
        convolutions = [
            nn.Conv2d(self.step**2 * channels, width, 3, 1, 1, bias=bias),
            nn.Conv2d(width, wide, 3, 2, 1, bias=bias),
            nn.Conv2d(wide, wide, 3, 1, 1, bias=bias),
            nn.Conv2d(wide, deep, 3, 2, 1, bias=bias),
            nn.Conv2d(deep, deep, 3, 1, 1, bias=bias),
        ]
        grid = side // self.step // 4
        while side > SMALL_SIDE and grid >= 16:
            convolutions += [nn.Conv2d(deep, deep, 3, 2, 1, bias=bias)]
            grid //= 2
        layers: list[nn.Module] = [
            layer for conv in convolutions for layer in (conv, nn.LeakyReLU(0.1))
        ]
        if side > SMALL_SIDE:
            layers.append(nn.AdaptiveMaxPool2d(4))
        elif shape[1:] != (32, 32):  # Those already end as 4x4.
            layers.append(nn.AdaptiveAvgPool2d(4))
        self.stages = nn.Sequential(nn.PixelUnshuffle(self.step), *layers, nn.Flatten())
        self.penultimate = nn.Sequential(nn.Linear(deep * 16, 128, bias=bias), nn.LeakyReLU(0.1))
        self.head = nn.Linear(128, outputs, bias=bias)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=0.1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def fit_statistics(self, normal: Tensor) -> None:
        """Compute mean and deviation of each pixel over (N, C, H, W) normal images in [0, 1].

        They tell much where objects are always in the same place; elsewhere the deviation is large
        and they do no harm. Small images are read without them.
        """
        if self.compares:
            self.usual = normal.mean(0)
            self.deviation = normal.std(0, correction=0).clamp_min(_LEAST_DEVIATION)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) images in [0, 1] to the head's (N, outputs) and (N, 128) features."""
        if self.compares:
            unusual = ((images - self.usual) / self.deviation).clamp(-_FAR, _FAR) / _FAR
            images = torch.cat([images, unusual], 1)
        features = self.penultimate(self.stages(images))
        return self.head(features), features
