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
from ifnormal.explainers.diffusion.diffedit import way
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.memory import weight_bytes
from ifnormal.explainers.diffusion.memory_plan import GIGABYTE, MemoryPlan, Work


@dataclass(frozen=True)
class Cost:
    """Of the work on some images.

    Attributes:
        calls: latent images that the U-net is asked about for one image.
        weights: bytes of the backbone.
        plan: how it makes do with the memory there is.
        attempts: how often an image is edited at the most, as long as it is flagged.
    """

    calls: int
    weights: int
    plan: MemoryPlan
    attempts: int = 1

    def __str__(self) -> str:
        """Some sentences for the terminal."""
        images = "an image" if self.plan.images == 1 else f"{self.plan.images} images"
        again = ", once more where an edit is still flagged" if self.attempts > 1 else ""
        told = (
            f"Each image takes {self.calls} calls of the U-net{again}. The diffusion model takes "
            f"{_size(self.weights)} of memory, and {images} at a time about "
            f"{_size(self.plan.working)} to work in."
        )
        return " ".join((told, *self.plan.spared))


def cost_of(backbone: LatentBackbone, config: MethodConfig, plan: MemoryPlan) -> Cost:
    """What an image costs by this method, and what the memory there is makes of it."""
    attempts = config.attempts if isinstance(config, InversionConfig) else 1
    return Cost(unet_calls(backbone, config), weight_bytes(backbone), plan, attempts)


def work_of(config: MethodConfig) -> Work:
    """What a method needs memory for."""
    if isinstance(config, LatentConfig):
        edits = config.concepts
        return Work(edits, config.diffedit.guidance > 1, edits * config.batch_size)
    if isinstance(config, DiffEditConfig):
        return Work(1, config.guidance > 1)
    return Work(
        config.concepts,
        config.guidance > 1,
        config.concepts if config.detector_guidance else 0,
    )


def _size(count: int) -> str:
    """Bytes in words."""
    if count >= GIGABYTE / 10:
        return f"{count / GIGABYTE:.1f} GB"
    return f"{max(count / 2**20, 1):.0f} MB"


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
