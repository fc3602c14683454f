"""LatentBackbone: a frozen latent diffusion model, seen as what counterfactuals need of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ifnormal.explainers.diffusion.batch_limits import BatchLimits, in_parts
from ifnormal.explainers.diffusion.noise_schedule import NoiseSchedule

Precision = Literal["float32", "float16", "bfloat16"]


class LatentBackbone(nn.Module):
    """Autoencoder, noise predictor and text encoder of a text-conditional latent diffusion model.

    Args:
        vae: diffusers' AutoencoderKL.
        unet: diffusers' UNet2DConditionModel.
        text_encoder: CLIPTextModel of transformers.
        tokenizer: of the text encoder.
        schedule: the noise levels it was trained with.
        facts: what is known of its making; JSON-compatible.

    Attributes:
        calls: how many latent images the U-net was asked about so far.
        where: the folder or the name on the hub that it was loaded from; "" if from neither.
        limits: how much it does at once.
        tiny: a small decoder for gradients, if there is one: diffusers' AutoencoderTiny.
        tiny_where: where that was loaded from; "" if from nowhere.
    """

    def __init__(
        self,
        vae: Any,
        unet: Any,
        text_encoder: Any,
        tokenizer: Any,
        schedule: NoiseSchedule,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.vae, self.unet, self.text_encoder = vae, unet, text_encoder
        self.tokenizer, self.schedule, self.facts = tokenizer, schedule, facts or {}
        self.calls, self.where = 0, ""
        self.limits = BatchLimits()
        self.tiny: Any = None
        self.tiny_where = ""
        if not torch.cuda.is_available():
            # Heads of a few channels: on processors plain attention is faster than fused.
            from diffusers.models.attention_processor import AttnProcessor

            self.unet.set_attn_processor(AttnProcessor())

    @property
    def factor(self) -> int:
        """Pixels along a side of a latent cell."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images it was trained with."""
        cells = self.unet.config.sample_size
        height, width = cells if isinstance(cells, list | tuple) else (cells, cells)
        return int(height) * self.factor, int(width) * self.factor

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        device: torch.device = self.unet.device
        return device

    @property
    def precision(self) -> Precision:
        """Of its weights."""
        names: dict[torch.dtype, Precision] = {
            torch.float16: "float16",
            torch.bfloat16: "bfloat16",
        }
        return names.get(self.unet.dtype, "float32")

    def encode(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) images in [0, 1] to latents (N, L, h, w) of about unit variance.

        The mean of the autoencoder's distribution, so that an image has one latent. Gradients flow
        where they are enabled.
        """
        return in_parts(self._encode, self.limits.vae, images)

    def _encode(self, images: Tensor) -> Tensor:
        given = (2 * images - 1).to(self.device, self.vae.dtype)
        moments = self.vae.encode(given).latent_dist
        latents: Tensor = moments.mean.float() * self.vae.config.scaling_factor
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (N, L, h, w) to images (N, 3, H, W), float32 around [0, 1], not clamped."""
        return in_parts(self._decoding(self.vae), self.limits.vae, latents)

    def draft(self, latents: Tensor) -> Tensor:
        """As `decode`, by the tiny decoder: for gradients, never for a picture that is kept."""
        return in_parts(self._decoding(self.tiny), self.limits.vae, latents)

    def _decoding(self, vae: Any) -> Callable[[Tensor], Tensor]:
        """How latents are decoded by one of the two decoders."""

        def decoded(latents: Tensor) -> Tensor:
            given = (latents / vae.config.scaling_factor).to(self.device, vae.dtype)
            images: Tensor = vae.decode(given).sample.float()
            return (images + 1) / 2

        def decoded_again(latents: Tensor) -> Tensor:
            # A decoder draws no random numbers whose state would have to be kept.
            images: Tensor = checkpoint(
                decoded, latents, use_reentrant=False, preserve_rng_state=False
            )
            return images

        return decoded_again if self.limits.recompute and torch.is_grad_enabled() else decoded

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """N prompts to (N, S, D) embeddings; "" is no prompt."""
        tokens = tokens_of(self.tokenizer, prompts).to(self.device)
        return token_embeddings(self.text_encoder, tokens).float()

    def predict(
        self,
        latents: Tensor,
        time: int,
        prompt: Tensor,
        against: Tensor | None = None,
        guidance: float = 1.0,
        level: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What noisy latents would be without noise, and the noise, under prompts.

        Args:
            latents: (N, L, h, w).
            time: at which the model is asked.
            prompt: (N, S, D) embeddings.
            against: (N, S, D) embeddings to be led away from, with a guidance above 1 (Ho and
                Salimans 2021).
            guidance: how far to follow the difference of the two; 1 is the prompt alone.
            level: the time whose noise the latents have, if another.
        """
        output = self._output(latents, time, prompt, against, guidance)
        return self.schedule.split(output, latents, time if level is None else level)

    def _output(
        self, latents: Tensor, time: int, prompt: Tensor, against: Tensor | None, guidance: float
    ) -> Tensor:
        if against is None or guidance == 1.0:
            return self._ask(latents, time, prompt)
        both = self._ask(torch.cat([latents, latents]), time, torch.cat([against, prompt]))
        away, towards = both.chunk(2)
        return away + guidance * (towards - away)

    def _ask(self, latents: Tensor, time: int, prompt: Tensor) -> Tensor:
        """(N, L, h, w) float32: what the U-net says at a time, under (N, S, D) prompts."""
        self.calls += len(latents)
        dtype = self.unet.dtype

        def said(latents: Tensor, prompt: Tensor) -> Tensor:
            given = latents.to(self.device, dtype).contiguous(memory_format=torch.channels_last)
            output: Tensor = self.unet(given, time, encoder_hidden_states=prompt.to(dtype)).sample
            return output.float()

        return in_parts(said, self.limits.unet, latents, prompt)


def tokens_of(tokenizer: Any, prompts: Sequence[str]) -> Tensor:
    """N prompts to (N, S) tokens, as Stable Diffusion reads them: padded, cut at the end."""
    tokens: Tensor = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return tokens


def token_embeddings(text_encoder: Any, tokens: Tensor) -> Tensor:
    """(N, S) tokens to (N, S, D) embeddings."""
    hidden: Tensor = text_encoder(tokens).last_hidden_state
    return hidden
