"""What editing with a diffusion model costs, in calls of the U-net and memory."""

from __future__ import annotations

from ifnormal.config.diffusion import DiffEditConfig, InversionConfig
from ifnormal.explainers.diffusion.diffedit import inversion_times
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.memory import weight_bytes
from ifnormal.explainers.diffusion.memory_plan import GIGABYTE, MemoryPlan


def cost_sentences(backbone: LatentBackbone, calls: int, plan: MemoryPlan, attempts: int) -> str:
    """What an image costs, for the terminal.

    Args:
        backbone: the diffusion model.
        calls: latent images that the U-net is asked about for one image.
        plan: how the backbone makes do with the memory there is.
        attempts: how often an image is edited at the most, as long as an edit is flagged.
    """
    images = "an image" if plan.images == 1 else f"{plan.images} images"
    again = ", once more where an edit is still flagged" if attempts > 1 else ""
    told = (
        f"Each image takes {calls} calls of the U-net{again}. The diffusion model takes "
        f"{_size(weight_bytes(backbone))} of memory, and {images} at a time about "
        f"{_size(plan.working)} to work in."
    )
    return " ".join((told, *plan.spared))


def edit_calls(
    backbone: LatentBackbone, config: InversionConfig | DiffEditConfig, edits: int
) -> int:
    """Latent images that the U-net is asked about for a mask, an inversion and so many edits."""
    steps = len(inversion_times(backbone, config.steps, config.strength)) - 1
    mask = config.mask
    # With a guidance above 1 the U-net is asked with the prompt and without.
    for_mask = mask.maps * 2 * (2 if mask.guidance > 1 else 1)
    return for_mask + steps + edits * steps * (2 if config.guidance > 1 else 1)


def _size(count: int) -> str:
    """Bytes in words."""
    if count >= GIGABYTE / 10:
        return f"{count / GIGABYTE:.1f} GB"
    return f"{max(count / 2**20, 1):.0f} MB"
