"""Untrained diffusion models of a few thousand weights, for tests."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch

from ifnormal.config.backbone import BackboneConfig
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.loading import schedule_of
from ifnormal.explainers.diffusion.memory_plan import MemoryPlan, Room, Work, make_do
from ifnormal.explainers.diffusion.small_backbone import (
    NOISE,
    small_autoencoder,
    small_text_encoder,
    small_tokenizer,
    small_unet,
)

PROMPTS = ("", "a sign", "speed limit 30", "something else")
TINY = BackboneConfig(
    steps=2,
    batch_size=4,
    autoencoder_steps=2,
    autoencoder_batch_size=4,
    autoencoder_widths=(8, 16),
    widths=(16, 16),
    text_width=16,
    heads=2,
    checkpoint_every=1,
)
SIDE = 16


def scheduler(**options: Any) -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(**{**NOISE, **options})


@cache
def tiny_backbone(prediction: str = "v_prediction") -> LatentBackbone:
    """The same random weights at each call; on 16x16 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = small_tokenizer(PROMPTS)
        vae = small_autoencoder(TINY, SIDE)
        unet = small_unet(TINY, (SIDE // 2, SIDE // 2))
        text_encoder = small_text_encoder(TINY, tokenizer)
    schedule = schedule_of(scheduler(prediction_type=prediction), "tiny")
    backbone = LatentBackbone(vae, unet, text_encoder, tokenizer, schedule, {"name": "tiny"})
    return backbone.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def planned_once() -> Iterator[None]:
    """The memory of these, which are all of one size, is estimated once for each kind of work."""
    plans: dict[tuple[Work, Room], MemoryPlan] = {}

    def plan(backbone: LatentBackbone, work: Work, room: Room) -> MemoryPlan:
        if (work, room) not in plans:
            plans[work, room] = make_do(backbone, work, room)
        backbone.limits = plans[work, room].limits
        return plans[work, room]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ifnormal.explainers.diffusion.editor.make_do", plan)
        yield
