"""The DiffEdit pipeline of diffusers as an editor, to compare with; it is deprecated there."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from ifnormal.common.errors import UserError
from ifnormal.config.diffusion import DiffEditConfig
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.diffedit import LatentEdit
from ifnormal.explainers.diffusion.diffedit_editor import DiffEditEditor
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.small_backbone import NOISE


class PipelineEditor(DiffEditEditor):
    """Edits by `StableDiffusionDiffEditPipeline` as it is, with its masks.

    Args:
        backbone: of `ifnormal train-backbone`.
        config: steps, strength, guidance and the mask's noises; the mask's threshold is 3.0.

    Raises:
        UserError: this version of diffusers no longer has the pipeline.
    """

    unet_calls = 0  # the pipeline does not count them

    def __init__(self, backbone: LatentBackbone, config: DiffEditConfig) -> None:
        super().__init__(backbone, config)
        import diffusers

        kind = getattr(diffusers, "StableDiffusionDiffEditPipeline", None)
        if kind is None:
            raise UserError("This diffusers has no DiffEdit pipeline; install one below 1.0.")
        scheduler = diffusers.DDIMScheduler(**NOISE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.pipeline: Any = kind(
                vae=backbone.vae,
                text_encoder=backbone.text_encoder,
                tokenizer=backbone.tokenizer,
                unet=backbone.unet,
                scheduler=scheduler,
                inverse_scheduler=diffusers.DDIMInverseScheduler.from_config(scheduler.config),
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
        self.pipeline.set_progress_bar_config(disable=True)

    @torch.no_grad()
    def latent_edit(self, canvas: Canvas) -> LatentEdit:
        """What the pipeline makes of the images; the mask is all of them, as it has its own."""
        config, latents = self.config, canvas.latents.to(self.backbone.unet.dtype)
        shared = {"num_inference_steps": config.steps, "guidance_scale": config.guidance}
        prompts, source = self.prompts * len(latents), [self.source] * len(latents)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mask = self.pipeline.generate_mask(
                image=latents,
                target_prompt=prompts,
                source_prompt=source,
                num_maps_per_mask=config.mask.maps,
                mask_encode_strength=config.mask.strength,
                generator=torch.Generator().manual_seed(0),
                **shared,
            )
            inverted = self.pipeline.invert(
                prompt=source,
                image=latents,
                inpaint_strength=config.strength,
                num_inference_steps=config.steps,
                guidance_scale=1.0,
            ).latents
            edited = self.pipeline(
                prompt=prompts,
                mask_image=torch.as_tensor(mask, dtype=torch.float32)[:, None],
                image_latents=inverted,
                inpaint_strength=config.strength,
                output_type="latent",
                **shared,
            ).images
        everywhere = torch.ones_like(canvas.latents[:, :1])
        return LatentEdit(canvas.latents, edited.float()[:, None], everywhere)
