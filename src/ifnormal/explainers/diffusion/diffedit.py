"""DiffEdit: a mask from two prompts, inversion, denoising under the other prompt (Couairon 2023).

Differs from the pipeline of diffusers, which is deprecated: a mask's threshold is each image's own
instead of the batch's, "" is what guidance leads away from, and where the mask is 0 the result
keeps the latents of the same noise level, not of one step before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.config.diffusion import DiffEditConfig, MaskConfig
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.noise_schedule import CLEAN


@dataclass(frozen=True)
class LatentEdit:
    """What became of latent images.

    Attributes:
        original: (N, L, h, w) latents of the images.
        edited: (N, K, L, h, w) latents of their edits.
        mask: (N, 1, h, w) in [0, 1], where they were edited.
    """

    original: Tensor
    edited: Tensor
    mask: Tensor


@torch.no_grad()
def diffedit(
    backbone: LatentBackbone,
    latents: Tensor,
    prompt: str,
    source: str,
    config: DiffEditConfig,
    seed: int = 0,
) -> LatentEdit:
    """Edit latents (N, L, h, w) so that they show `prompt`; one edit of each.

    Args:
        backbone: the diffusion model.
        latents: of the images, by its `encode`.
        prompt: what there shall be.
        source: what there is; "" if nobody knows.
        config: how.
        seed: of the noise of the mask, the same for all images.
    """
    wanted, there, nothing = (
        backbone.embed([words]).expand(len(latents), -1, -1) for words in (prompt, source, "")
    )
    random = torch.Generator().manual_seed(seed)
    mask = edit_mask(backbone, latents, wanted, there, config.mask, config.steps, random, nothing)
    times = inversion_times(backbone, config.steps, config.strength)
    original = invert(backbone, latents, times, there)
    edited = denoise(backbone, original[0], times, wanted, nothing, config.guidance, original, mask)
    return LatentEdit(latents, edited[:, None], mask)


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


Change = Callable[[Tensor, int], Tensor]


def inversion_times(backbone: LatentBackbone, steps: int, strength: float) -> list[int]:
    """The times of a part of the way: from the noisiest that `strength` reaches to CLEAN.

    However little the strength is, there is one step at least.
    """
    times = backbone.schedule.times(steps)
    return [*times[steps - min(max(round(steps * strength), 1), steps) :], CLEAN]


def invert(
    backbone: LatentBackbone, latents: Tensor, times: Sequence[int], prompt: Tensor
) -> list[Tensor]:
    """The latents (N, L, h, w) on their way to noise, at each of the times, noisiest first.

    Args:
        backbone: predicts the noise.
        latents: clean ones.
        times: as `inversion_times` gives them.
        prompt: (N, S, D) embeddings of what the image shows, as far as it is known.
    """
    found = [latents]
    for before, after in zip(reversed(times[1:]), reversed(times[:-1]), strict=True):
        # Asked for the noise of the step back, as that is the step to be undone.
        clean, noise = backbone.predict(found[-1], after, prompt, level=before)
        found.append(backbone.schedule.add_noise(clean, noise, after))
    return found[::-1]


def denoise(
    backbone: LatentBackbone,
    start: Tensor,
    times: Sequence[int],
    prompt: Tensor,
    against: Tensor | None = None,
    guidance: float = 1.0,
    original: Sequence[Tensor] | None = None,
    mask: Tensor | None = None,
    change: Change | None = None,
) -> Tensor:
    """Clean latents (N, L, h, w) from noisy ones, under a prompt.

    Args:
        backbone: predicts the noise.
        start: latents at the first of the times.
        times: as `inversion_times` gives them.
        prompt: (N, S, D) embeddings of what there shall be.
        against: (N, S, D) embeddings to be led away from.
        guidance: how far.
        original: the latents of `invert`, which stay where the mask is 0.
        mask: (N, 1, h, w) in [0, 1], 1 where the result is free.
        change: what becomes of the clean latents predicted in each step, with their time.
    """
    latents = start
    for n, (time, after) in enumerate(pairwise(times)):
        clean, noise = backbone.predict(latents, time, prompt, against, guidance)
        if change is not None:
            clean = change(clean, time)
        latents = backbone.schedule.add_noise(clean, noise, after)
        if mask is not None and original is not None:
            latents = mask * latents + (1 - mask) * original[n + 1]
    return latents
