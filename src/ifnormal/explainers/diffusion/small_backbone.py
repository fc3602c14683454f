"""A latent diffusion model small enough to be trained on a processor, in diffusers' own parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ifnormal.config.backbone import BackboneConfig

# Stable Diffusion's noise levels.
NOISE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "prediction_type": "v_prediction",
}
_NORM_GROUPS = 8
_TEXT_LAYERS = 2
_MOST_TOKENS = 24
_START, _END = "<|startoftext|>", "<|endoftext|>"


def small_autoencoder(config: BackboneConfig, side: int) -> Any:
    """An untrained AutoencoderKL without attention, for RGB images of `side` pixels."""
    from diffusers import AutoencoderKL

    stages = len(config.autoencoder_widths)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * stages,
        up_block_types=("UpDecoderBlock2D",) * stages,
        block_out_channels=config.autoencoder_widths,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=_NORM_GROUPS,
        sample_size=side,
        mid_block_add_attention=False,
    )


def small_unet(config: BackboneConfig, cells: tuple[int, int]) -> Any:
    """An untrained UNet2DConditionModel for latents of (height, width) cells."""
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import AttnProcessor

    attending = len(config.widths) - 1
    unet = UNet2DConditionModel(
        sample_size=cells[0] if cells[0] == cells[1] else list(cells),
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        block_out_channels=config.widths,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * attending),
        up_block_types=(*["CrossAttnUpBlock2D"] * attending, "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=config.text_width,
        attention_head_dim=config.heads,  # diffusers' name for the number of heads
        norm_num_groups=_NORM_GROUPS,
    )
    # On processors and images of this size faster than fused attention.
    unet.set_attn_processor(AttnProcessor())
    return unet


def small_text_encoder(config: BackboneConfig, tokenizer: Any) -> Any:
    """An untrained CLIPTextModel of two layers for the tokenizer's vocabulary."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.text_width,
            intermediate_size=2 * config.text_width,
            num_hidden_layers=_TEXT_LAYERS,
            num_attention_heads=config.heads,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def small_tokenizer(prompts: Sequence[str]) -> Any:
    """A CLIPTokenizer that knows the words of these prompts, and spells out others."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens = [_START, _END, *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    reader = CLIPTokenizer(vocab=dict(vocabulary), merges=[]).backend_tokenizer
    merges: dict[tuple[str, str], None] = {}  # in the order of the prompts: tokens are repeatable
    for prompt in prompts:
        text = reader.normalizer.normalize_str(prompt)
        for word, _ in reader.pre_tokenizer.pre_tokenize_str(text):
            letters_of = [*word[:-1], f"{word[-1]}</w>"]
            begun = letters_of[0]
            for letter in letters_of[1:]:
                merges[begun, letter] = None
                begun += letter
                vocabulary.setdefault(begun, len(vocabulary))
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=list(merges))
    longest = max(len(ids) for ids in tokenizer(list(prompts)).input_ids)
    tokenizer.model_max_length = max(longest, _MOST_TOKENS)
    return tokenizer
