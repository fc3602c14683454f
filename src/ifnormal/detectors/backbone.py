"""The convolutional network that the built-in detectors train."""

from __future__ import annotations

from torch import Tensor, nn

_SMALL = 48
_COARSE = 96


class Backbone(nn.Module):
    """A plain convolutional network without normalisation layers, for small images.

    Normalisation would tie the images of a batch together and costs more than the convolutions in
    bfloat16. Without `bias` it has no bias term anywhere, as Deep SVDD needs to avoid the constant
    solution (Ruff et al. 2018, proposition 2).

    Images beyond 48 pixels are read in coarser cells, by further stages down to a grid of about 8,
    and pooled by their maxima: a defect is small beside them, and a mean would drown it.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, outputs: int, bias: bool) -> None:
        super().__init__()
        wide, deep = 2 * width, 4 * width
        side = max(shape[1:])
        self.step = 2 if side < _COARSE else 4
        convolutions = [
            nn.Conv2d(self.step**2 * shape[0], width, 3, 1, 1, bias=bias),
            nn.Conv2d(width, wide, 3, 2, 1, bias=bias),
            nn.Conv2d(wide, wide, 3, 1, 1, bias=bias),
            nn.Conv2d(wide, deep, 3, 2, 1, bias=bias),
            nn.Conv2d(deep, deep, 3, 1, 1, bias=bias),
        ]
        grid = side // self.step // 4
        while side > _SMALL and grid >= 16:
            convolutions += [nn.Conv2d(deep, deep, 3, 2, 1, bias=bias)]
            grid //= 2
        layers: list[nn.Module] = [
            layer for conv in convolutions for layer in (conv, nn.LeakyReLU(0.1))
        ]
        if side > _SMALL:
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

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) images in [0, 1] to the head's (N, outputs) and (N, 128) features."""
        features = self.penultimate(self.stages(images))
        return self.head(features), features
