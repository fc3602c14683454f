"""What editing with a diffusion model costs, told before it is done."""

from __future__ import annotations

from dataclasses import dataclass

from ifnormal.config.diffusion import (
    DiffEditConfig,
    InversionConfig,
    LatentConfig,
    MaskConfig,
    MethodConfig,
)
from ifnormal.diffusion.inversion import way
from ifnormal.diffusion.latent_backbone import LatentBackbone

_GIGABYTE = 2**30


@dataclass(frozen=True)
class Cost:
    """Of one image.

    Attributes:
        calls: latent images that the U-net is asked about.
        weights: bytes of the backbone.
    """

    calls: int
    weights: int

    def __str__(self) -> str:
        """A sentence for the terminal."""
        size = self.weights / _GIGABYTE
        return (
            f"Each image takes {self.calls} calls of the U-net; the diffusion model takes "
            f"{size:.2g} GB of memory, and its working memory comes on top."
        )


def cost_of(backbone: LatentBackbone, config: MethodConfig) -> Cost:
    """What an image costs by this method."""
    weights = sum(weight.numel() * weight.element_size() for weight in backbone.parameters())
    return Cost(unet_calls(backbone, config), weights)


def unet_calls(backbone: LatentBackbone, config: MethodConfig) -> int:
    """How many latent images the U-net is asked about for one image."""
    if isinstance(config, LatentConfig):
        return unet_calls(backbone, config.diffedit)
    steps = len(way(backbone, config.steps, config.strength)) - 1
    ways = config.concepts if isinstance(config, InversionConfig) else 1
    back = ways * steps * _asked_at_once(config)
    return _for_mask(config.mask) + steps + back


def _for_mask(mask: MaskConfig) -> int:
    return mask.maps * 2 * (2 if mask.guidance > 1 else 1)


def _asked_at_once(config: InversionConfig | DiffEditConfig) -> int:
    """With a guidance above 1 the U-net is asked with the prompt and without."""
    return 2 if config.guidance > 1 else 1
