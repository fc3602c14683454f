"""Generator G(x, α, k): edits an image in pixel space so that the detector scores it α."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.config import GeneratorConfig

_LEAK = 0.02


class Generator(nn.Module):
    """A small residual U-net without normalisation, steered by target and concept.

    Without normalisation (which costs ten times a convolution in bfloat16) the second convolution
    of each residual block starts small; the last layer starts at almost zero, so an untrained
    generator returns its input.
    """

    def __init__(self, channels: int, concepts: int, config: GeneratorConfig) -> None:
        super().__init__()
        self.concepts, width, wide = concepts, config.width, 2 * config.width
        self.condition = nn.Sequential(
            nn.Linear(concepts + _TARGET_FEATURES, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU()
        )
        self.stem = nn.Conv2d(4 * channels, width, 3, 1, 1)
        self.down_blocks = _blocks(width, config.outer_blocks)
        self.down = nn.Conv2d(width, wide, 4, 2, 1)
        self.inner_blocks = _blocks(wide, config.inner_blocks)
        self.up = nn.Conv2d(wide, 4 * width, 3, 1, 1)
        self.up_blocks = _blocks(width, config.outer_blocks)
        self.last = nn.Conv2d(width, 4 * channels, 3, 1, 1)
        nn.init.normal_(self.last.weight, std=1e-3)
        nn.init.zeros_(_bias(self.last))

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
        one_hot = F.one_hot(concept, self.concepts).to(target.dtype)
        steering = torch.cat([one_hot, target_features(target)], 1)
        condition: Tensor = self.condition(steering.to(self.stem.weight.dtype))
        return condition

    def edit(self, images: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` under a condition (N, 64) that need not be one of a target and a concept."""
        # The image itself stays in its own precision; only what the layers see takes theirs.
        outer = self.stem(F.pixel_unshuffle(images, 2).to(self.stem.weight.dtype))
        for block in self.down_blocks:
            outer = block(outer, condition)
        inner = self.down(F.silu(outer))
        for block in self.inner_blocks:
            inner = block(inner, condition)
        hidden = F.pixel_shuffle(self.up(inner), 2) + outer
        for block in self.up_blocks:
            hidden = block(hidden, condition)
        offset = F.pixel_shuffle(self.last(F.silu(hidden)), 2)
        raw = images + offset.to(images.dtype)
        clamped = raw.clamp(0, 1)
        overshoot = raw - clamped
        return clamped + _LEAK * (overshoot - overshoot.detach()), overshoot


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions; a feature-wise scale and shift (FiLM) from the condition between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, 1, 1)
        self.film = nn.Linear(64, 2 * width)
        self.second = nn.Conv2d(width, width, 3, 1, 1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """(N, width, H, W) hidden and (N, 64) condition to the same shape as hidden."""
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, 1)
        edited = F.silu(torch.addcmul(shift, self.first(F.silu(hidden)), 1 + scale))
        return hidden + self.second(edited)


_TARGET_FEATURES = 4


def target_features(target: Tensor) -> Tensor:
    """(N,) targets in [0, 1] as (N, 4) smooth features, so that nearby targets act alike."""
    waves = [torch.sin(torch.pi * target), torch.cos(torch.pi * target)]
    return torch.stack([2 * target - 1, (2 * target - 1) ** 2, *waves], 1)


def _blocks(width: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(ResidualBlock(width) for _ in range(count))


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
