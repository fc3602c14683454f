"""A tiny decoder for gradients: AutoencoderTiny of diffusers, such as TAESD.

It draws nearly what the large decoder draws, at a fraction of the memory and time. Only gradients
come from it; every picture that is kept is decoded by the backbone's own.
"""

from __future__ import annotations

from pathlib import Path

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.explainers.diffusion.fetching import fetch_json, is_hub_name, reading
from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone

_CONFIG = "config.json"


def attach_tiny_decoder(backbone: LatentBackbone, name: Path | str) -> None:
    """Let a backbone take its gradients through a tiny decoder, in the precision of its U-net.

    Args:
        backbone: whose latents it has to know.
        name: a folder in diffusers' format, or `owner/name` on the hub.

    Raises:
        UserError: it is not there, is none, or is for latents of another shape.
    """
    folder = Path(name)
    if not folder.is_dir() and not is_hub_name(name):
        raise UserError(
            f"{name} is neither a folder nor owner/name on the hub; correct the name of the tiny "
            "decoder, such as madebyollin/taesd."
        )
    if folder.is_dir() and not (folder / _CONFIG).exists():
        raise UserError(f"{folder} has no {_CONFIG}; name the folder of a tiny decoder.")
    with reading(
        f"The tiny decoder {name}", "an AutoencoderTiny in diffusers' format with safetensors"
    ):
        from diffusers import AutoencoderTiny

        found = read_json(folder / _CONFIG) if folder.is_dir() else fetch_json(str(name), _CONFIG)
        if (kind := found.get("_class_name")) != "AutoencoderTiny":
            raise ValueError(f"it is of the kind {kind}")
        tiny = AutoencoderTiny.from_pretrained(name, use_safetensors=True)
    config = tiny.config
    factor = config.upsampling_scaling_factor ** (len(config.num_decoder_blocks) - 1)
    takes = config.latent_channels, factor
    made = backbone.vae.config.latent_channels, backbone.factor
    if takes != made:
        raise UserError(
            f"The tiny decoder {name} is for latents of {takes[0]} channels and cells of "
            f"{takes[1]} pixels, and those of the backbone have {made[0]} and {made[1]}; name one "
            "that was made for it, or leave it out."
        )
    backbone.tiny = tiny.eval().requires_grad_(False).to(backbone.device, backbone.unet.dtype)
    backbone.tiny_where = str(folder.resolve()) if folder.is_dir() else str(name)
