"""BatchLimits: how much a diffusion model does at once. Results do not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

UNLIMITED = 2**31


@dataclass(frozen=True)
class BatchLimits:
    """How much is done at once, and whether memory is saved at the price of time.

    Attributes:
        images: that are edited together.
        unet: latent images that go through the U-net together.
        vae: images that are encoded or decoded together.
        recompute: whether what a decoder's gradient needs is computed again instead of kept.
    """

    images: int = UNLIMITED
    unet: int = UNLIMITED
    vae: int = UNLIMITED
    recompute: bool = False


def in_parts(work: Callable[..., Tensor], at_once: int, *batches: Tensor) -> Tensor:
    """`work` on (N, ...) batches, so many rows of each at a time; its results in one."""
    if len(batches[0]) <= at_once:
        return work(*batches)
    parts = zip(*(batch.split(at_once) for batch in batches), strict=True)
    return torch.cat([work(*part) for part in parts])
