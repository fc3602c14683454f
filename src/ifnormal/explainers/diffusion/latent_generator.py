"""Latent generator G′(z, α, k): edits what DiffEdit made of an image, in the backbone's latents."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.training.networks.blocks import residual_blocks
from ifnormal.training.networks.steering import steering_features, steering_network


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
        self.condition = steering_network(concepts)
        self.stem = nn.Conv2d(channels, width, 3, 1, 1)
        self.before = residual_blocks(width, blocks)
        self.down = nn.Conv2d(width, 2 * width, 4, 2, 1)
        self.coarse = residual_blocks(2 * width, blocks + 1)
        self.up = nn.Conv2d(2 * width, 4 * width, 3, 1, 1)
        self.after = residual_blocks(width, blocks)
        self.last = nn.Conv2d(width, channels, 3, 1, 1)
        nn.init.normal_(self.last.weight, std=1e-3)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, latents: Tensor, target: Tensor, concept: Tensor) -> Tensor:
        """Edit latents (N, L, h, w), h and w even, for (N,) targets α in [0, 1] and concepts k."""
        condition = self.condition(steering_features(target, concept, self.concepts))
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
