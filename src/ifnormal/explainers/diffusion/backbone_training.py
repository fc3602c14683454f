"""The training of a small latent diffusion model, readable from top to bottom.

First an autoencoder learns to give images back from small latent images; then a U-net learns, in
these latents and together with a text encoder, to tell the velocity of a noisy one.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.compute import channels_last, make_fabric
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.common.progress import logged_seconds
from ifnormal.config.backbone import BackboneConfig
from ifnormal.explainers.diffusion.batch_limits import in_parts
from ifnormal.explainers.diffusion.latent_backbone import (
    LatentBackbone,
    token_embeddings,
    tokens_of,
)
from ifnormal.explainers.diffusion.loading import require_replaceable, save_backbone, schedule_of
from ifnormal.explainers.diffusion.small_backbone import (
    NOISE,
    small_autoencoder,
    small_text_encoder,
    small_tokenizer,
    small_unet,
)
from ifnormal.explainers.diffusion.training_material import TrainingMaterial
from ifnormal.training.stage import Player, Stage, train

_STAGES = ("autoencoder", "noise predictor")
_ENCODED = 512
_HELD_OUT = 512


def train_backbone(
    material: TrainingMaterial,
    config: BackboneConfig,
    seed: int,
    folder: Path,
    resume: bool = False,
) -> LatentBackbone:
    """Train a small latent diffusion model and save it to `folder`.

    Args:
        material: images and prompts.
        config: everything else.
        seed: makes the run repeatable.
        folder: the backbone; its checkpoints and losses lie beside it, in `folder`-training.
        resume: go on from the last checkpoint.

    Raises:
        DivergenceError: a loss became NaN or infinite.
        UserError: the images are too small for the widths, `folder` holds something other than a
            backbone, or a checkpoint is of something else.
    """
    from diffusers import DDIMScheduler

    require_replaceable(folder)
    side = max(material.images.shape[2:])
    multiple = 2 ** (len(config.autoencoder_widths) + len(config.widths) - 2)
    if any(length % multiple for length in material.images.shape[2:]):
        raise UserError(
            f"Images of {'x'.join(map(str, material.images.shape[2:]))} pixels cannot be halved "
            f"as often as the widths of the backbone ask for; sides have to be multiples of "
            f"{multiple}."
        )
    fabric = make_fabric()
    training = folder.with_name(f"{folder.name}-training")
    torch.manual_seed(seed)
    tokenizer = small_tokenizer(material.prompts)
    facts = {"seed": seed, **material.facts(), "config": _comparable(config)}

    images = _as_rgb(material.images)
    vae = small_autoencoder(config, side).to(fabric.device, memory_format=torch.channels_last)

    def autoencoder_loss(random: torch.Generator) -> Tensor:
        chosen = torch.randint(len(images), (config.autoencoder_batch_size,), generator=random)
        batch = channels_last(2 * to_float(images[chosen]).to(fabric.device) - 1)
        moments = vae.encode(batch).latent_dist
        spread = torch.randn(moments.mean.shape, generator=random).to(fabric.device)
        decoded = vae.decode(moments.mean + moments.std * spread).sample.float()
        divergence = moments.kl().float().mean() / moments.mean[0].numel()
        return F.l1_loss(decoded, batch) + config.divergence * divergence

    stage = Stage(
        _STAGES[0],
        (Player({"vae": vae}, autoencoder_loss),),
        config.autoencoder_steps,
        config.autoencoder_learning_rate,
        config.ema,
        config.checkpoint_every,
        facts,
    )
    vae = cast(Any, train(stage, fabric, seed, training, resume)["vae"])
    mean, deviation = _encoded(vae, images, fabric.device)
    scale = 1 / float(mean.std())
    vae.register_to_config(scaling_factor=scale)
    quality = _reconstruction_quality(vae, images, config.autoencoder_batch_size, fabric.device)

    schedule = schedule_of(DDIMScheduler(**NOISE), "backbone")
    tokens = tokens_of(tokenizer, material.prompts).to(fabric.device)
    torch.manual_seed(seed + 1)
    unet = small_unet(config, (mean.shape[2], mean.shape[3]))
    unet = unet.to(fabric.device, memory_format=torch.channels_last)
    text_encoder = small_text_encoder(config, tokenizer).to(fabric.device)

    def denoising_loss(random: torch.Generator) -> Tensor:
        chosen = torch.randint(len(mean), (config.batch_size,), generator=random)
        spread = torch.randn((2, config.batch_size, *mean.shape[1:]), generator=random)
        latents = scale * (mean[chosen].float() + deviation[chosen].float() * spread[0])
        times = torch.randint(len(schedule.alphas), (config.batch_size,), generator=random)
        which = torch.randint(material.prompt_of.shape[1], (config.batch_size,), generator=random)
        prompt = material.prompt_of[chosen, which]
        dropped = torch.rand(config.batch_size, generator=random) < config.prompt_dropout
        prompt = torch.where(dropped, 0, prompt).to(fabric.device)
        noisy = channels_last(schedule.add_noise(latents, spread[1], times).to(fabric.device))
        wanted = schedule.velocity(latents, spread[1], times).to(fabric.device)
        said = unet(
            noisy,
            times.to(fabric.device),
            encoder_hidden_states=token_embeddings(text_encoder, tokens)[prompt],
        ).sample
        return F.mse_loss(said.float(), wanted)

    stage = Stage(
        _STAGES[1],
        (Player({"unet": unet, "text_encoder": text_encoder}, denoising_loss),),
        config.steps,
        config.learning_rate,
        config.ema,
        config.checkpoint_every,
        facts,
    )
    learned = train(stage, fabric, seed + 1, training, resume)
    backbone = LatentBackbone(
        vae,
        learned["unet"],
        learned["text_encoder"],
        tokenizer,
        schedule,
        {
            "name": folder.name,
            "seed": seed,
            "config": asdict(config),
            "prompts": list(material.prompts),
            "normal": material.normal,
            "images": len(images),
            "psnr": quality,
            "seconds": sum(logged_seconds(training / f"{name}.jsonl") for name in _STAGES),
        },
    )
    backbone = backbone.cpu().eval().requires_grad_(False)
    save_backbone(backbone, folder, DDIMScheduler(**NOISE))
    return backbone


@torch.no_grad()
def _encoded(vae: Any, images: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation (N, L, h, w) of the latents of (N, 3, H, W) uint8 images, in bfloat16."""
    means, deviations = [], []
    for part in images.split(_ENCODED):
        moments = vae.encode(channels_last(2 * to_float(part).to(device) - 1)).latent_dist
        means.append(moments.mean.bfloat16().cpu())
        deviations.append(moments.std.bfloat16().cpu())
    return torch.cat(means), torch.cat(deviations)


@torch.no_grad()
def _reconstruction_quality(vae: Any, images: Tensor, at_once: int, device: torch.device) -> float:
    """Peak signal-to-noise ratio, in dB, of some images that came through the autoencoder."""

    def errors(part: Tensor) -> Tensor:
        given = channels_last(2 * to_float(part).to(device) - 1)
        back = vae.decode(vae.encode(given).latent_dist.mean).sample
        return ((back.clamp(-1, 1) - given) / 2).square().mean((1, 2, 3))

    some = images[:: max(1, len(images) // _HELD_OUT)]
    return float(-10 * in_parts(errors, at_once, some).mean().log10())


def _as_rgb(images: Tensor) -> Tensor:
    return images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)


def _comparable(config: BackboneConfig) -> dict[str, object]:
    """The configuration as JSON would give it back, without what does not change the result."""
    saved = asdict(config)
    del saved["checkpoint_every"]
    return {key: list(value) if isinstance(value, tuple) else value for key, value in saved.items()}
