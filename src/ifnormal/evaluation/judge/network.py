"""The judge's networks: a plain one for drawings, a residual one for photographs.

Both have `maps` (for a perceptual distance), `features` (for FID and KID) and one head an
attribute, so that whoever measures need not know which of them it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ifnormal.common.errors import UserError

Pictures = Literal["drawings", "photographs"]

_FEATURES = 128
_LEAST_SIDE = 16
_GRID = 16  # the residual network begins on a grid of about this, 4x4 is where it ends
_WIDEST = 4


class JudgeNetwork(nn.Module):
    """Convolutional stages, one penultimate layer, one linear head for each attribute.

    Args:
        shape: (C, H, W) of the images; H and W at least 16.
        answers: for each attribute, its number of values, junk included.
        width: channels of the first stage; by default 24 for drawings, 32 for photographs.
        pictures: what kind of images it is for.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        answers: Mapping[str, int],
        width: int | None = None,
        pictures: Pictures = "drawings",
    ) -> None:
        super().__init__()
        if min(shape[1:]) < _LEAST_SIDE:
            raise UserError(
                f"The judge needs images of at least {_LEAST_SIDE} pixels, not {shape[1:]}."
            )
        self.pictures, self.width = pictures, width or (24 if pictures == "drawings" else 32)
        build = _drawing_stages if pictures == "drawings" else _photograph_stages
        stages, self.penultimate = build(shape, self.width)
        self.stages = nn.ModuleList(stages)
        self.heads = nn.ModuleDict({name: nn.Linear(_FEATURES, n) for name, n in answers.items()})

    def maps(self, images: Tensor) -> list[Tensor]:
        """Outputs of the stages, (B, C', H', W') each, none negative; of (B, C, H, W) in [0, 1]."""
        outputs = []
        for stage in self.stages:
            images = stage(images)
            outputs.append(images)
        return outputs

    def features(self, images: Tensor) -> Tensor:
        """(B, 128) penultimate layer."""
        output: Tensor = self.penultimate(self.maps(images)[-1])
        return output

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Attribute -> (B, values + 1) logits; the last is junk."""
        features = self.features(images)
        return {name: head(features) for name, head in self.heads.items()}


def _convolution(channels: int, width: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


def _drawing_stages(
    shape: tuple[int, int, int], width: int
) -> tuple[list[nn.Sequential], nn.Sequential]:
    # Strides come first: full resolution would cost most of the time and add nothing here.
    stages = [
        nn.Sequential(_convolution(shape[0], width, 5, 2)),
        nn.Sequential(
            _convolution(width, 2 * width, 3, 2), _convolution(2 * width, 3 * width, 3, 1)
        ),
        nn.Sequential(_convolution(3 * width, 4 * width, 3, 2)),
    ]
    pooled = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * 4 * width, _FEATURES)]
    return stages, nn.Sequential(*pooled, nn.ReLU())


def _photograph_stages(
    shape: tuple[int, int, int], width: int
) -> tuple[list[nn.Sequential], nn.Sequential]:
    side = max(shape[1:])
    # Pixels of a cell become channels: as much is seen, at a quarter of the places or less.
    fits = (s for s in (4, 3, 2) if s * _GRID <= side and not any(n % s for n in shape[1:]))
    step = next(fits, 1)
    first = [nn.PixelUnshuffle(step), _convolution(step**2 * shape[0], width, 3, 1)]
    stages, grid, channels = [nn.Sequential(*first, Residual(width))], side // step, width
    while grid > 6:
        wider = min(2 * channels, _WIDEST * width)
        stages.append(nn.Sequential(_convolution(channels, wider, 3, 2), Residual(wider)))
        grid, channels = -(-grid // 2), wider
    pooled = [MeanAndMaximum(), nn.Linear(2 * channels, _FEATURES), nn.BatchNorm1d(_FEATURES)]
    return stages, nn.Sequential(*pooled, nn.ReLU())


class Residual(nn.Module):
    """Two convolutions, and their input added to what comes out (He et al., CVPR 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(width, width, 3, 1),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        # At first it adds nothing, so that depth does no harm (Goyal et al. 2017, section 5.1).
        nn.init.zeros_(self.body[2].weight)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to the same, none negative."""
        return torch.relu(images + self.body(images))


class MeanAndMaximum(nn.Module):
    """(B, C, H, W) to (B, 2C): how much of something there is, and whether there is any."""

    def forward(self, maps: Tensor) -> Tensor:
        """Pool over places, both ways."""
        return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
