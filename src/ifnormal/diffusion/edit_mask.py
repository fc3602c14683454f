"""Where to edit an image so that it fits another prompt (Couairon et al. 2023, section 3.2).

Of each image by itself: what is much and what is little is measured against the image's own mean,
and all images are noised with the same noise, so that no image depends on its neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.config.diffusion import MaskConfig
from ifnormal.diffusion.latent_backbone import LatentBackbone


def edit_mask(
    backbone: LatentBackbone,
    latents: Tensor,
    prompt: Tensor,
    source: Tensor,
    config: MaskConfig,
    steps: int,
    random: torch.Generator,
    unconditional: Tensor | None = None,
) -> Tensor:
    """(N, 1, h, w) in [0, 1]: 1 where `prompt` sees another noise in the latents than `source`.

    Args:
        backbone: predicts the noise.
        latents: (N, L, h, w) clean ones.
        prompt: (N, S, D) embeddings of what there shall be.
        source: (N, S, D) embeddings of what there is.
        config: how the mask is made.
        steps: of the way that the strength is a share of.
        random: of the noise.
        unconditional: (N, S, D) embeddings of "", for a guidance above 1.
    """
    times = backbone.schedule.times(steps)
    time = times[steps - min(max(round(steps * config.strength), 1), steps)]
    difference = torch.zeros_like(latents[:, :1])
    for _ in range(config.maps):
        noise = torch.randn(latents.shape[1:], generator=random).to(latents)
        noisy = backbone.schedule.add_noise(latents, noise.expand_as(latents), time)
        towards, away = (
            backbone.predict(noisy, time, words, unconditional, config.guidance)[1]
            for words in (prompt, source)
        )
        difference += (towards - away).abs().mean(1, keepdim=True) / config.maps
    if config.soft:
        difference = _blurred(difference)
    relative = difference / difference.mean((1, 2, 3), keepdim=True).clamp_min(1e-12)
    if config.soft:
        return (relative / config.threshold).clamp(0, 1)
    return (relative > config.threshold / 2).to(latents.dtype)


def _blurred(field: Tensor) -> Tensor:
    """A binomial blur of 3 by 3, edges continued."""
    row = torch.tensor([0.25, 0.5, 0.25], dtype=field.dtype, device=field.device)
    kernel = (row[:, None] * row)[None, None]
    return F.conv2d(F.pad(field, (1, 1, 1, 1), mode="replicate"), kernel)
