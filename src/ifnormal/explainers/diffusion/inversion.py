"""InversionEditor: K different edits of an image from one inversion. Our own.

What DDIM inversion finds is denoised under the prompt of each concept and away from the word for
what there is, within a soft mask. Concepts that share a prompt differ by fresh noise that is mixed
in, and push each other apart on the way back. The predictions may follow the detector's gradient.
Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ifnormal.config.diffusion import InversionConfig
from ifnormal.explainers.diffusion.diffedit import (
    LatentEdit,
    denoise,
    edit_mask,
    inversion_times,
    invert,
)
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone

Score = Callable[[Tensor, Tensor], Tensor]


def inversion_edit(
    backbone: LatentBackbone,
    latents: Tensor,
    prompts: Sequence[str],
    source: str,
    config: InversionConfig,
    seed: int = 0,
    log_odds: Score | None = None,
) -> LatentEdit:
    """Edit latents (N, L, h, w) in K ways so that they show what the K prompts say.

    Args:
        backbone: the diffusion model.
        latents: of the images, by its `encode`.
        prompts: of the K concepts; the same K times is fine.
        source: what there is, to be led away from; "" if nobody knows.
        config: how.
        seed: of all noise, which is the same for all images.
        log_odds: what the detector says of the images of latents (N, K, L, h, w) under a mask
            (N, 1, h, w): (N, K), with a gradient. For a detector guidance above 0.
    """
    count, concepts = len(latents), len(prompts)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        words = torch.stack([backbone.embed([prompt])[0] for prompt in prompts])
        there = backbone.embed([source])
        mask = edit_mask(
            backbone,
            latents,
            words.mean(0, keepdim=True).expand(count, -1, -1),
            there.expand(count, -1, -1),
            config.mask,
            config.steps,
            random,
            there.expand(count, -1, -1),
        )
        times = inversion_times(backbone, config.steps, config.strength)
        original = invert(backbone, latents, times, there.expand(count, -1, -1))
        start = original[0][:, None].expand(-1, concepts, *latents.shape[1:]).clone()
        same = torch.tensor([[a == b for b in prompts] for a in prompts], device=latents.device)
        copies = same.tril(-1).sum(1)
        keep, mix = (1 - config.mix) ** 0.5, config.mix**0.5
        for copy in range(1, 1 + int(copies.max())):
            fresh = torch.randn((1, *latents.shape[1:]), generator=random).to(latents)
            mixed = backbone.schedule.remix(original[0], latents, fresh, times[0], keep, mix)
            start[:, copies == copy] = mixed

        def change(clean: Tensor, time: int) -> Tensor:
            moved = clean.view(count, concepts, *clean.shape[1:])
            if config.repulsion and bool(copies.any()):
                moved = moved + config.repulsion * _repulsion(moved, same)
            if config.detector_guidance and log_odds is not None:
                moved = moved + config.detector_guidance * _descent(log_odds, moved, mask)
            return moved.flatten(0, 1)

        edited = denoise(
            backbone,
            start.flatten(0, 1),
            times,
            words.repeat(count, 1, 1),
            there.expand(count * concepts, -1, -1),
            config.guidance,
            [level.repeat_interleave(concepts, 0) for level in original],
            mask.repeat_interleave(concepts, 0),
            change,
        )
    return LatentEdit(latents, edited.view(count, concepts, *latents.shape[1:]), mask)


def _repulsion(clean: Tensor, same: Tensor) -> Tensor:
    """Directions (N, K, ...) of unit deviation that lead latents away from those of their kind.

    The gradient of a sum of Gaussian kernels whose width is the mean distance, as in particle
    guidance (Corso et al., ICLR 2024): the nearest count most. `same`, (K, K) bool, says which of
    the K have the same prompt; those that are alone stay.
    """
    flat = clean.flatten(2)
    apart = flat[:, :, None] - flat[:, None]  # (N, K, K, F)
    square = apart.square().mean(3)
    width = square.mean((1, 2), keepdim=True).clamp_min(1e-12)
    away = (same * (-square / width).exp())[..., None] * apart
    return _unit(away.sum(2)).view_as(clean)


def _descent(log_odds: Score, clean: Tensor, mask: Tensor) -> Tensor:
    """Directions (N, K, ...) of unit deviation that make the score of each image fall by itself."""
    with torch.enable_grad():
        given = clean.detach().requires_grad_()
        (slope,) = torch.autograd.grad(log_odds(given, mask).sum(), given)
    return -_unit(slope.flatten(2)).view_as(clean)


def _unit(directions: Tensor) -> Tensor:
    """Each row with unit root mean square; rows of zeros stay."""
    size = directions.square().mean(-1, keepdim=True).sqrt()
    return torch.where(size > 1e-8, directions / size.clamp_min(1e-8), directions)
