"""The DiffEdit pipeline of diffusers as an explainer, to compare with; it is deprecated there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import quantize, to_float
from ifnormal.config.diffusion import DiffEditConfig
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.diffusion.canvas import Canvas
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
from ifnormal.explainers.diffusion.small_backbone import NOISE
from ifnormal.explainers.scored_edits import ScoredEdits, explanation_of
from ifnormal.explanation.explanation import Explanation

_BATCH = 32


class PipelineExplainer:
    """Explains by `StableDiffusionDiffEditPipeline` as it is: batches, masks and all.

    Args:
        detector: what is explained.
        backbone: of `ifnormal train-backbone`.
        config: steps, strength, guidance and the mask's noises; the mask's threshold is 3.0.
        prompt: what normal images are called.
        source: what anomalies are called.

    Raises:
        UserError: this version of diffusers no longer has the pipeline.
    """

    concepts = 1

    def __init__(
        self,
        detector: Detector,
        backbone: LatentBackbone,
        config: DiffEditConfig,
        prompt: str,
        source: str = "",
    ) -> None:
        import diffusers

        kind = getattr(diffusers, "StableDiffusionDiffEditPipeline", None)
        if kind is None:
            raise UserError("This diffusers has no DiffEdit pipeline; install one below 1.0.")
        self.detector, self.backbone = detector, backbone
        self.config, self.prompt, self.source = config, prompt, source
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

    def explain(
        self,
        anomalies: Tensor,
        names: Sequence[str],
        traversals: int = 0,
        traversal_steps: int = 2,
    ) -> Explanation:
        """One counterfactual of each of (N, C, H, W) uint8 anomalies; it has no traversals."""
        edits = torch.cat([self._edit(part) for part in anomalies.split(_BATCH)])
        scored = ScoredEdits.by(self.detector, anomalies, edits[:, None])
        return explanation_of(self.detector, scored, names, {"generator": "diffusers"})

    @torch.no_grad()
    def _edit(self, anomalies: Tensor) -> Tensor:
        canvas = Canvas.of(self.backbone, to_float(anomalies))
        count, config = len(anomalies), self.config
        shared = {"num_inference_steps": config.steps, "guidance_scale": config.guidance}
        latents = canvas.latents.to(self.backbone.unet.dtype)
        prompts, source = [self.prompt] * count, [self.source] * count
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
        return quantize(canvas.paint(edited.float()[:, None], everywhere)[:, 0]).cpu()
