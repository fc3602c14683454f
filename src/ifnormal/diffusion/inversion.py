"""DDIM inversion: from a latent image to the noise it could have come from, and back under a mask.

Couairon et al., "DiffEdit" (ICLR 2023), section 3.2; Song et al., "DDIM" (ICLR 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor

from ifnormal.diffusion.latent_backbone import LatentBackbone
from ifnormal.diffusion.noise_schedule import CLEAN

Change = Callable[[Tensor, int], Tensor]


def way(backbone: LatentBackbone, steps: int, strength: float) -> list[int]:
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
        times: as `way` gives them.
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
        times: as `way` gives them.
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
