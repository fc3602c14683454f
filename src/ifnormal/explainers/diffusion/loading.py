"""Latent diffusion models in diffusers' folder format, from a folder or the Hugging Face hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ifnormal.common.compute import has_fast_bfloat16
from ifnormal.common.errors import UserError
from ifnormal.common.quiet import quiet
from ifnormal.common.storage import read_json, write_json
from ifnormal.explainers.diffusion.fetching import (
    fetch_json,
    fetch_pipeline,
    is_hub_name,
    reading,
)
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone, Precision
from ifnormal.explainers.diffusion.noise_schedule import NoiseSchedule, Prediction
from ifnormal.explainers.diffusion.tiny_decoder import attach_tiny_decoder

FACTS = "ifnormal.json"
_INDEX = "model_index.json"
_PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
_HAS_TO_BE = "a Stable Diffusion 1.x or 2.x in diffusers' format with safetensors"
_OPTIONS: Mapping[str, Any] = {
    "safety_checker": None,
    "feature_extractor": None,
    "image_encoder": None,
    "requires_safety_checker": False,
    "use_safetensors": True,
}
# What people are likely to try, and what it is.
_OTHERS = {
    "StableDiffusionXL": "Stable Diffusion XL, which has two text encoders",
    "StableDiffusion3": "Stable Diffusion 3, a flow model",
    "Flux": "FLUX, a flow model",
    "QwenImage": "Qwen-Image, a flow model",
    "Lumina": "Lumina, a flow model",
    "PixArt": "PixArt, which has no U-net",
    "LatentConsistency": "a latent consistency model, which cannot be inverted",
    "Kandinsky": "Kandinsky, which has a prior of its own",
}
_PREDICTIONS: Mapping[str, Prediction] = {
    "epsilon": "epsilon",
    "v_prediction": "v_prediction",
}


def load_backbone(
    name: Path | str,
    precision: Precision = "float32",
    revision: str | None = None,
    tiny_decoder: Path | str | None = None,
) -> LatentBackbone:
    """A Stable Diffusion 1.x or 2.x, or one that `ifnormal train-backbone` trained.

    Args:
        name: a folder in diffusers' format, or `owner/name` on the hub.
        precision: to compute in, whatever the files are in; those in half precision alone (variant
            "fp16") are found as well. An autoencoder that says of itself that it overflows in
            float16 computes in float32 instead.
        revision: a branch, tag or commit on the hub.
        tiny_decoder: a folder or `owner/name` of an AutoencoderTiny that gradients go through.

    Raises:
        UserError: it is not there, incomplete, of a kind that is not supported, or the extra
            `diffusion` is not installed.
    """
    folder = Path(name)
    local = folder.is_dir()
    if not local and not is_hub_name(name):
        raise UserError(
            f"{name} is neither a folder nor owner/name on the hub; correct the name of the "
            "backbone, or train one with ifnormal train-backbone."
        )
    if local:
        _require_supported(folder)
    with reading(f"The diffusion model {name}", _HAS_TO_BE):
        if not local:
            _require_kind(str(name), fetch_json(str(name), _INDEX, revision))
            folder = fetch_pipeline(str(name), _OPTIONS, revision, precision)
        parts = _parts(folder)
    unet = parts["unet"]
    _require_plain(str(name), unet, parts["vae"])
    facts = read_json(folder / FACTS) if (folder / FACTS).exists() else {"name": str(name)}
    backbone = LatentBackbone(
        parts["vae"],
        unet,
        parts["text_encoder"],
        parts["tokenizer"],
        schedule_of(parts["scheduler"], str(name)),
        facts,
    )
    backbone.where = str(folder.resolve()) if local else str(name)
    overflows = precision == "float16" and backbone.vae.config.get("force_upcast", True)
    with quiet("diffusers", "transformers"):
        backbone.vae.to(torch.float32 if overflows else getattr(torch, precision))
        for part in (backbone.unet, backbone.text_encoder):
            part.to(getattr(torch, precision))
    if tiny_decoder is not None:
        attach_tiny_decoder(backbone, tiny_decoder)
    return backbone.eval().requires_grad_(False)


def require_replaceable(folder: Path) -> None:
    """That a backbone saved to `folder` takes the place of nothing but an earlier backbone.

    Raises:
        UserError: it holds something else, or is no folder.
    """
    is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    if not is_free and not (folder / FACTS).is_file():
        raise UserError(
            f"{folder} is no backbone that ifnormal train-backbone made, and would be replaced by "
            "one; name a new or an empty folder with --out."
        )


def save_backbone(backbone: LatentBackbone, folder: Path, scheduler: Any) -> None:
    """Write a backbone as a folder that diffusers' StableDiffusionPipeline reads too; atomic.

    Args:
        backbone: to be saved, in safetensors.
        folder: a backbone in it is replaced as a whole when everything is written.
        scheduler: diffusers' scheduler with the noise levels it was trained with.

    Raises:
        UserError: the folder holds something else.
    """
    require_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with quiet("diffusers", "transformers"):
            from diffusers import StableDiffusionPipeline

            StableDiffusionPipeline(
                vae=backbone.vae,
                text_encoder=backbone.text_encoder,
                tokenizer=backbone.tokenizer,
                unet=backbone.unet,
                scheduler=scheduler,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            ).save_pretrained(half, safe_serialization=True)
        write_json(half / FACTS, backbone.facts)
        if folder.exists():
            shutil.rmtree(folder)
        half.rename(folder)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise


def schedule_of(scheduler: Any, name: str) -> NoiseSchedule:
    """The noise levels of any of diffusers' schedulers that were trained with the same ones.

    PNDM and others are read as DDIM's with `clip_sample=False` and `set_alpha_to_one=False`, as
    inversion needs them.

    Raises:
        UserError: it is of a flow model, or predicts neither noise nor velocity.
    """
    from diffusers import DDIMScheduler

    if "beta_start" not in scheduler.config:
        raise _unsupported(name, f"a model with {type(scheduler).__name__}, a flow model")
    said = scheduler.config.get("prediction_type", "epsilon")
    if said not in _PREDICTIONS:
        raise _unsupported(name, f"a model that predicts {said!r}")
    ddim = DDIMScheduler.from_config(
        scheduler.config, clip_sample=False, set_alpha_to_one=False, prediction_type=said
    )
    return NoiseSchedule(
        ddim.alphas_cumprod.float(), _PREDICTIONS[said], int(ddim.config.steps_offset)
    )


def _require_supported(folder: Path) -> None:
    """A clear word where the folder says by itself that it cannot be used."""
    if not (folder / _INDEX).exists():
        raise UserError(
            f"{folder} has no {_INDEX}; name the folder of a whole diffusion model in diffusers' "
            "format."
        )
    _require_kind(str(folder), read_json(folder / _INDEX))
    missing = [part for part in _PARTS if not (folder / part).is_dir()]
    if missing:
        raise UserError(
            f"{folder} has no {missing[0]}, which a text-conditional latent diffusion model needs; "
            "restore the folder or name another."
        )


def _require_kind(name: str, index: Mapping[str, Any]) -> None:
    """That a pipeline is none of those that are known not to do, nor one without a U-net."""
    kind = str(index.get("_class_name", ""))
    for start, words in _OTHERS.items():
        if kind.startswith(start):
            raise _unsupported(name, words)
    if kind and not kind.startswith("StableDiffusion") and "unet" not in index:
        raise _unsupported(name, f"of the kind {kind}, which has no U-net")


def _require_plain(name: str, unet: Any, vae: Any) -> None:
    """That a U-net reads latents and prompts, and nothing else."""
    if getattr(unet.config, "addition_embed_type", None) is not None:
        raise _unsupported(name, _OTHERS["StableDiffusionXL"])
    read, latent = unet.config.in_channels, vae.config.latent_channels
    if read != latent:
        raise _unsupported(
            name,
            f"a model whose U-net reads {read} channels where latents have {latent}, such as for "
            "inpainting, depth or InstructPix2Pix",
        )


def _parts(folder: Path) -> Mapping[str, Any]:
    """The parts of a pipeline; from files in half precision where there are no others."""
    from diffusers import StableDiffusionPipeline

    whole = any((folder / "unet").glob("*model.safetensors"))
    half = any((folder / "unet").glob("*.fp16.safetensors"))
    variant = {"variant": "fp16"} if half and not whole else {}
    parts: Mapping[str, Any] = StableDiffusionPipeline.from_pretrained(
        folder, **_OPTIONS, **variant
    ).components
    return parts


def _unsupported(name: str, what: str) -> UserError:
    return UserError(
        f"{name} is {what}, and not supported; name a Stable Diffusion 1.x or 2.x, or a backbone "
        "that ifnormal train-backbone trained."
    )


def suited_precision() -> Precision:
    """Half precision where it is fast: float16 on a GPU, bfloat16 on processors that have it."""
    if torch.cuda.is_available():
        return "float16"
    return "bfloat16" if has_fast_bfloat16() else "float32"


def usable_precision(saved: Precision) -> Precision:
    """That of a saved explainer, unless it was a GPU's and there is none now."""
    return suited_precision() if saved == "float16" else saved
