"""Building blocks of the generators: residual blocks and stages, steered by a condition."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.training.networks.steering import STEERING_WIDTH

FINE_WIDTH = 16


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with FiLM between them (Perez et al. 2018).

    FiLM is a scale and a shift of each channel, computed from the condition. The second convolution
    starts small, in place of a normalisation.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, 1, 1)
        self.film = nn.Linear(STEERING_WIDTH, 2 * width)
        self.second = nn.Conv2d(width, width, 3, 1, 1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """(N, width, H, W) hidden and (N, 64) condition to the same shape as hidden."""
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, 1)
        edited = F.silu(torch.addcmul(shift, self.first(F.silu(hidden)), 1 + scale))
        return hidden + self.second(edited)


def residual_blocks(width: int, count: int) -> nn.ModuleList:
    """`count` blocks of the same width."""
    return nn.ModuleList(ResidualBlock(width) for _ in range(count))


class DeeperStage(nn.Module):
    """A residual stage at half the resolution, so that an edit sees more of a larger image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(width, width, 4, 2, 1)
        self.blocks = residual_blocks(width, 2)
        self.up = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """(N, width, H, W) hidden, H and W even, and (N, 64) condition to the same shape."""
        inner = self.down(F.silu(hidden))
        for block in self.blocks:
            inner = block(inner, condition)
        return hidden + enlarged(self.up(F.silu(inner)), 2)


class FineStage(nn.Module):
    """Half-resolution layers beside the coarse grid: they see the pixels and sharpen the edits."""

    def __init__(self, channels: int, width: int, step: int) -> None:
        super().__init__()
        self.factor = step // 2
        self.stem = nn.Conv2d(4 * channels, FINE_WIDTH, 3, 1, 1)
        self.up = nn.Conv2d(width, FINE_WIDTH, 3, 1, 1)
        self.block = ResidualBlock(FINE_WIDTH)

    def forward(self, images: Tensor, coarse: Tensor, condition: Tensor) -> Tensor:
        """(N, C, H, W) images and (N, width, H / step, W / step) to (N, 16, H / 2, W / 2)."""
        seen = self.stem(F.pixel_unshuffle(images, 2))
        hidden = seen + enlarged(self.up(F.silu(coarse)), self.factor)
        refined: Tensor = self.block(hidden, condition)
        return refined


def enlarged(hidden: Tensor, factor: int) -> Tensor:
    """Enlarge (N, C, H, W) bilinearly; other ways would leave a grid of tiles in the edits."""
    return F.interpolate(hidden, scale_factor=factor, mode="bilinear", align_corners=False)


def padded(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last column and row of images until their sides are multiples of `multiple`."""
    right, below = -images.shape[3] % multiple, -images.shape[2] % multiple
    return F.pad(images, (0, right, 0, below), mode="replicate") if right or below else images
