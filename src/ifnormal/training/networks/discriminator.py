"""Discriminator D(x | score, modes): real against generated."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from ifnormal.training.networks.blocks import padded
from ifnormal.training.networks.steering import TARGET_FEATURES, target_features


class Discriminator(nn.Module):
    """A spectrally normalised residual network with sum pooling and a projected condition.

    Sum pooling, because mean pooling lets a generator get away with blank images. The condition is
    the score the image has (real) or was asked to have (generated), and, as far as that score is
    normal, the normal mode it belongs to (Miyato & Koyama 2018, projection).

    Args:
        channels: C of the images.
        concepts: K.
        width: channels of the first stage.
        side: the longer side of the images; each doubling beyond 48 pixels is one more stage.
    """

    def __init__(self, channels: int, concepts: int, width: int, side: int = 32) -> None:
        super().__init__()
        wide, deep = 3 * width, 4 * width
        self.step = 2 if side < 96 else 4
        more = [_DownBlock(deep, deep) for _ in range(_further_stages(side // self.step))]
        self.stem = spectral_norm(nn.Conv2d(self.step**2 * channels, width, 3, 1, 1))
        self.stages = nn.ModuleList([_DownBlock(width, wide), _DownBlock(wide, deep), *more])
        self.last = spectral_norm(nn.Conv2d(deep, deep, 3, 1, 1))
        self.linear = spectral_norm(nn.Linear(deep, 1))
        self.embedding = spectral_norm(nn.Linear(concepts + TARGET_FEATURES, deep))

    def forward(self, images: Tensor, score: Tensor, modes: Tensor) -> Tensor:
        """Realness (N,), unbounded, of (N, C, H, W) images in [0, 1].

        Args:
            images: real or generated.
            score: (N,) in [0, 1].
            modes: (N, K) weights of the normal modes, each row summing to 1.
        """
        hidden = self.stem(F.pixel_unshuffle(padded(images, self.step), self.step))
        for stage in self.stages:
            hidden = stage(hidden)
        pooled = F.leaky_relu(hidden + self.last(F.leaky_relu(hidden, 0.1)), 0.1).sum((2, 3))
        condition = torch.cat([(1 - score)[:, None] * modes, target_features(score)], 1)
        return self.linear(pooled)[:, 0] + (self.embedding(condition) * pooled).sum(1)


def _further_stages(side: int) -> int:
    """Stages beyond the first two that bring a grid of `side` down to about 4."""
    stages = 0
    while side > 24:
        side, stages = side // 2, stages + 1
    return stages


class _DownBlock(nn.Module):
    """Residual block that halves height and width."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1))
        self.second = spectral_norm(nn.Conv2d(outputs, outputs, 3, 1, 1))
        self.skip = spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, hidden: Tensor) -> Tensor:
        edited = self.second(F.leaky_relu(self.first(F.leaky_relu(hidden, 0.1)), 0.1))
        return edited + self.skip(F.avg_pool2d(hidden, 2))
