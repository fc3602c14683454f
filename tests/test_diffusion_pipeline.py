"""Our DiffEdit beside the pipeline of diffusers, at batch size 1, while diffusers still has it."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from ifnormal.config.diffusion import DiffEditConfig, MaskConfig
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.diffedit import denoise, diffedit, inversion_times, invert
from tiny_backbones import SIDE, scheduler, tiny_backbone

STEPS, STRENGTH, GUIDANCE = 10, 0.8, 3.0
PROMPT, SOURCE = "a sign", "something else"


@pytest.fixture
def pipeline() -> Any:
    import diffusers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = getattr(diffusers, "StableDiffusionDiffEditPipeline", None)
        if kind is None:
            pytest.skip("diffusers has no DiffEdit any more")
        backbone = tiny_backbone()
        made = kind(
            vae=backbone.vae,
            text_encoder=backbone.text_encoder,
            tokenizer=backbone.tokenizer,
            unet=backbone.unet,
            scheduler=scheduler(),
            inverse_scheduler=diffusers.DDIMInverseScheduler.from_config(scheduler().config),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(5))


@pytest.mark.filterwarnings("ignore")
def test_inversion_and_free_denoising_are_the_pipelines(pipeline: Any, image: torch.Tensor) -> None:
    backbone = tiny_backbone()
    latents = Canvas.of(backbone, image).latents
    times = inversion_times(backbone, STEPS, STRENGTH)
    source, prompt, nothing = (backbone.embed([words]) for words in (SOURCE, PROMPT, ""))
    ours = invert(backbone, latents, times, source)
    theirs = pipeline.invert(
        prompt_embeds=source,
        negative_prompt_embeds=nothing,
        image=latents,  # four channels are taken for latents
        inpaint_strength=STRENGTH,
        num_inference_steps=STEPS,
        guidance_scale=1.0,
    ).latents
    torch.testing.assert_close(theirs[0], torch.cat(ours[:-1]), atol=1e-3, rtol=1e-3)
    free = denoise(backbone, ours[0], times, prompt, nothing, GUIDANCE)
    edited = pipeline(
        prompt_embeds=prompt,
        negative_prompt_embeds=nothing,
        mask_image=torch.ones(1, 1, *latents.shape[2:]),
        image_latents=theirs,
        inpaint_strength=STRENGTH,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        output_type="latent",
    ).images
    torch.testing.assert_close(free, edited, atol=2e-3, rtol=2e-3)


@pytest.mark.filterwarnings("ignore")
def test_the_mask_is_the_pipelines(pipeline: Any, image: torch.Tensor) -> None:
    backbone = tiny_backbone()
    latents = Canvas.of(backbone, image).latents
    source, prompt, nothing = (backbone.embed([words]) for words in (SOURCE, PROMPT, ""))
    config = DiffEditConfig(
        steps=STEPS,
        strength=STRENGTH,
        guidance=GUIDANCE,
        mask=MaskConfig(maps=1, soft=False, threshold=2.0, guidance=GUIDANCE, strength=0.5),
    )
    ours = diffedit(backbone, latents, PROMPT, SOURCE, config, seed=3).mask
    theirs = pipeline.generate_mask(
        image=latents,
        # It takes the prompt for what guidance leads away from, and the other way round.
        target_prompt_embeds=nothing,
        target_negative_prompt_embeds=prompt,
        source_prompt_embeds=nothing,
        source_negative_prompt_embeds=source,
        num_maps_per_mask=1,
        mask_encode_strength=0.5,
        mask_thresholding_ratio=2.0,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    )
    assert np.array_equal(ours[0, 0].numpy(), np.asarray(theirs)[0])
