"""Generator G(x, α, k): edits an image in pixel space so that the detector scores it α."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.config import SMALL_SIDE, GeneratorConfig

_LEAK = 0.02
_LARGEST_STEP = 8
_FINE = 16


class Generator(nn.Module):
    """A small residual U-net without normalisation, steered by target and concept.

    Without normalisation (which costs ten times a convolution in bfloat16) the second convolution
    of each residual block starts small; the last layer starts at almost zero, so an untrained
    generator returns its input.

    Larger images get a coarser grid for most of the work, so that a pixel costs no more than one
    of a small image, and fine layers around it, so that edits stay sharp. They are seen next to
    what is usual in each place (`Usual`).

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
        self.condition = nn.Sequential(
            nn.Linear(concepts + _TARGET_FEATURES, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU()
        )
        self.step = _coarse_step(side)
        self.multiple = 4 if side <= SMALL_SIDE else 4 * self.step
        self.usual = Usual((channels, *(size or (side, side)))) if side > SMALL_SIDE else None
        seen = 3 * channels if self.usual else channels
        self.stem = nn.Conv2d(self.step**2 * seen, width, 3, 1, 1)
        self.down_blocks = _blocks(width, config.outer_blocks)
        self.down = nn.Conv2d(width, wide, 4, 2, 1)
        self.inner_blocks = _blocks(wide, config.inner_blocks)
        self.up = nn.Conv2d(wide, 4 * width, 3, 1, 1)
        self.up_blocks = _blocks(width, config.outer_blocks)
        self.deeper = _Deeper(wide) if side > SMALL_SIDE else None
        self.fine = _Fine(seen, width, self.step) if self.step > 2 else None
        self.last = (
            nn.Conv2d(_FINE + seen, channels, 3, 1, 1)
            if self.fine
            else nn.Conv2d(width, 4 * channels, 3, 1, 1)
        )
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
        seen = images if self.usual is None else self.usual(images)
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


class _Deeper(nn.Module):
    """A residual stage at half the resolution, so that an edit sees more of a larger image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(width, width, 4, 2, 1)
        self.blocks = _blocks(width, 2)
        self.up = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """(N, width, H, W) hidden, H and W even, and (N, 64) condition to the same shape."""
        inner = self.down(F.silu(hidden))
        for block in self.blocks:
            inner = block(inner, condition)
        return hidden + enlarged(self.up(F.silu(inner)), 2)


class _Fine(nn.Module):
    """Half-resolution layers beside the coarse grid: they see pixels, and sharpen its edits."""

    def __init__(self, channels: int, width: int, step: int) -> None:
        super().__init__()
        self.factor = step // 2
        self.stem = nn.Conv2d(4 * channels, _FINE, 3, 1, 1)
        self.up = nn.Conv2d(width, _FINE, 3, 1, 1)
        self.block = ResidualBlock(_FINE)

    def forward(self, images: Tensor, coarse: Tensor, condition: Tensor) -> Tensor:
        """(N, C, H, W) images and (N, width, H / step, W / step) to (N, 16, H / 2, W / 2)."""
        seen = self.stem(F.pixel_unshuffle(images, 2))
        hidden = seen + enlarged(self.up(F.silu(coarse)), self.factor)
        refined: Tensor = self.block(hidden, condition)
        return refined


def _coarse_step(side: int) -> int:
    """Pixels to a cell of the coarse grid, along each side: 2, from 96 pixels 4, from 192 8."""
    step = 2
    while side // step >= 48 and step < _LARGEST_STEP:
        step *= 2
    return step


def enlarged(hidden: Tensor, factor: int) -> Tensor:
    """Bilinear, so that an edit begins as a smooth one: cells would show as a grid of tiles."""
    return F.interpolate(hidden, scale_factor=factor, mode="bilinear", align_corners=False)


def padded(images: Tensor, multiple: int) -> Tensor:
    """Images continued to the right and below, to sides that are multiples of `multiple`."""
    right, below = -images.shape[3] % multiple, -images.shape[2] % multiple
    return F.pad(images, (0, right, 0, below), mode="replicate") if right or below else images


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


_FAR = 5.0
_LEAST_DEVIATION = 0.02


class Usual(nn.Module):
    """Mean and deviation of every pixel of the normal images.

    Where things lie in the same place, this shows at once what is odd and what belongs there, which
    convolutions would need many more images to learn. Where they do not, it does no harm.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full(shape, 0.5))
        self.register_buffer("deviation", torch.full(shape, 0.25))

    def learn(self, normal: Tensor) -> None:
        """Take both from (N, C, H, W) normal images in [0, 1]."""
        self.mean.copy_(normal.mean(0))
        self.deviation.copy_(normal.std(0, correction=0).clamp_min(_LEAST_DEVIATION))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images to (N, 3C, H, W): themselves, what is usual, how far they are off."""
        mean, deviation = self.mean.to(images.dtype), self.deviation.to(images.dtype)
        off = ((images - mean) / deviation).clamp(-_FAR, _FAR) / _FAR
        return torch.cat([images, mean.expand_as(images), off], 1)
