"""Latent generator G′(z, α, k): edits what DiffEdit made of an image, in the backbone's latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.training.networks.generator import ResidualBlock, target_features


class LatentGenerator(nn.Module):
    """A small residual U-net over latents, steered by target and concept as the pixel generator is.

    Args:
        channels: L of the latents.
        concepts: K.
        width: channels of the fine stage; the coarse one has twice as many.
        blocks: residual blocks of each stage.
    """

    def __init__(self, channels: int, concepts: int, width: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.concepts = concepts
        steering = concepts + target_features(torch.zeros(1)).shape[1]
        self.condition = nn.Sequential(
            nn.Linear(steering, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU()
        )
        self.stem = nn.Conv2d(channels, width, 3, 1, 1)
        self.before = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.down = nn.Conv2d(width, 2 * width, 4, 2, 1)
        self.coarse = nn.ModuleList(ResidualBlock(2 * width) for _ in range(blocks + 1))
        self.up = nn.Conv2d(2 * width, 4 * width, 3, 1, 1)
        self.after = nn.ModuleList(ResidualBlock(width) for _ in range(blocks))
        self.last = nn.Conv2d(width, channels, 3, 1, 1)
        nn.init.normal_(self.last.weight, std=1e-3)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, latents: Tensor, target: Tensor, concept: Tensor) -> Tensor:
        """Edit latents (N, L, h, w), h and w even, for (N,) targets α in [0, 1] and concepts k."""
        one_hot = F.one_hot(concept, self.concepts).to(target.dtype)
        condition = self.condition(torch.cat([one_hot, target_features(target)], 1))
        hidden = self.stem(latents)
        for block in self.before:
            hidden = block(hidden, condition)
        coarse = self.down(F.silu(hidden))
        for block in self.coarse:
            coarse = block(coarse, condition)
        hidden = hidden + F.pixel_shuffle(self.up(F.silu(coarse)), 2)
        for block in self.after:
            hidden = block(hidden, condition)
        edited: Tensor = latents + self.last(F.silu(hidden)).to(latents.dtype)
        return edited
