"""DiffEdit: a mask from two prompts, inversion, denoising under the other prompt (Couairon 2023).

Differs from the pipeline of diffusers, which is deprecated: a mask's threshold is each image's own
instead of the batch's, "" is what guidance leads away from, and where the mask is 0 the result
keeps the latents of the same noise level, not of one step before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ifnormal.config.diffusion import DiffEditConfig
from ifnormal.diffusion.edit_mask import edit_mask
from ifnormal.diffusion.inversion import denoise, invert, way
from ifnormal.diffusion.latent_backbone import LatentBackbone


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
    times = way(backbone, config.steps, config.strength)
    original = invert(backbone, latents, times, there)
    edited = denoise(backbone, original[0], times, wanted, nothing, config.guidance, original, mask)
    return LatentEdit(latents, edited[:, None], mask)
