"""Generator G(x, α, k): edits an image in pixel space so that the detector scores it α."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.config import SMALL_SIDE, GeneratorConfig
from ifnormal.training.networks.blocks import (
    FINE_WIDTH,
    DeeperStage,
    FineStage,
    enlarged,
    padded,
    residual_blocks,
)
from ifnormal.training.networks.pixel_statistics import PixelStatistics
from ifnormal.training.networks.steering import steering_features, steering_network

_LEAK = 0.02
_LARGEST_STEP = 8


class Generator(nn.Module):
    """A small residual U-net without normalisation, steered by target and concept.

    Without normalisation (which costs ten times a convolution in bfloat16) the second convolution
    of each residual block starts small; the last layer starts at almost zero, so an untrained
    generator returns its input.

    Larger images get a coarser grid for most of the work, so that a pixel costs no more than one
    of a small image, and fine layers around it, so that edits stay sharp. The network also sees
    mean and deviation of each of their pixels (`PixelStatistics`).

    Args:
        channels: C of the images.
        concepts: K.
        config: the widths and depths.
        side: the longer side of the images; up to 48 pixels the network is the small one.
        size: (H, W) of the images, by default `side` both.
    """

    def __init__(
        self,
        channels: int,
        concepts: int,
        config: GeneratorConfig,
        side: int = 32,
        size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.concepts, width, wide = concepts, config.width, 2 * config.width
        self.condition = steering_network(concepts)
        self.step = _coarse_step(side)
        self.multiple = 4 if side <= SMALL_SIDE else 4 * self.step
        is_large, shape = side > SMALL_SIDE, (channels, *(size or (side, side)))
        # Saved weights have the statistics under the name "usual".
        self.add_module("usual", PixelStatistics(shape) if is_large else None)
        seen = 3 * channels if is_large else channels
        self.stem = nn.Conv2d(self.step**2 * seen, width, 3, 1, 1)
        self.down_blocks = residual_blocks(width, config.outer_blocks)
        self.down = nn.Conv2d(width, wide, 4, 2, 1)
        self.inner_blocks = residual_blocks(wide, config.inner_blocks)
        self.up = nn.Conv2d(wide, 4 * width, 3, 1, 1)
        self.up_blocks = residual_blocks(width, config.outer_blocks)
        self.deeper = DeeperStage(wide) if is_large else None
        self.fine = FineStage(seen, width, self.step) if self.step > 2 else None
        self.last = (
            nn.Conv2d(FINE_WIDTH + seen, channels, 3, 1, 1)
            if self.fine
            else nn.Conv2d(width, 4 * channels, 3, 1, 1)
        )
        nn.init.normal_(self.last.weight, std=1e-3)
        nn.init.zeros_(_bias(self.last))

    @property
    def pixel_statistics(self) -> PixelStatistics | None:
        """Mean and deviation of every pixel; None in the network for small images."""
        statistics = self.usual
        assert statistics is None or isinstance(statistics, PixelStatistics)
        return statistics

    def forward(self, images: Tensor, target: Tensor, concept: Tensor) -> tuple[Tensor, Tensor]:
        """Edit (N, C, H, W) images in [0, 1], H and W multiples of 4.

        Args:
            images: what to edit.
            target: (N,) the score α in [0, 1] that the detector shall give.
            concept: (N,) int64 k in 0..K-1.

        Returns:
            The edited images in [0, 1], and how far each pixel overshot that range before it was
            clamped: both (N, C, H, W). Past the range a small share of the gradient leaks through.
        """
        return self.edit(images, self.steer(target, concept))

    def steer(self, target: Tensor, concept: Tensor) -> Tensor:
        """The condition (N, 64) that targets (N,) and concepts (N,) give to every block."""
        steering = steering_features(target, concept, self.concepts)
        condition: Tensor = self.condition(steering.to(self.stem.weight.dtype))
        return condition

    def edit(self, images: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` under a condition (N, 64) that need not be one of a target and a concept."""
        # The image itself stays in its own precision; only what the layers see takes theirs.
        statistics = self.pixel_statistics
        seen = images if statistics is None else statistics(images)
        seen = padded(seen.to(self.stem.weight.dtype), self.multiple)
        outer = self.stem(F.pixel_unshuffle(seen, self.step))
        for block in self.down_blocks:
            outer = block(outer, condition)
        inner = self.down(F.silu(outer))
        if self.deeper is not None:
            inner = self.deeper(inner, condition)
        for block in self.inner_blocks:
            inner = block(inner, condition)
        hidden = F.pixel_shuffle(self.up(inner), 2) + outer
        for block in self.up_blocks:
            hidden = block(hidden, condition)
        if self.fine is None:
            offset = F.pixel_shuffle(self.last(F.silu(hidden)), 2)
        else:
            fine = enlarged(F.silu(self.fine(seen, hidden, condition)), 2)
            offset = self.last(torch.cat([fine, seen], 1))
        offset = offset[..., : images.shape[2], : images.shape[3]]
        raw = images + offset.to(images.dtype)
        clamped = raw.clamp(0, 1)
        overshoot = raw - clamped
        return clamped + _LEAK * (overshoot - overshoot.detach()), overshoot


def _coarse_step(side: int) -> int:
    """Pixels to a cell of the coarse grid, along each side: 2, from 96 pixels 4, from 192 8."""
    step = 2
    while side // step >= 48 and step < _LARGEST_STEP:
        step *= 2
    return step


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
