"""Options of `ifnormal train-backbone`: how a small latent diffusion model is trained."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ifnormal.config.checks import require


@dataclass(frozen=True)
class BackboneConfig:
    """How `ifnormal train-backbone` trains an autoencoder and a noise predictor.

    Attributes:
        steps: optimizer steps of the noise predictor.
        batch_size: images per step of the noise predictor.
        learning_rate: peak learning rate of the noise predictor.
        autoencoder_steps: optimizer steps of the autoencoder.
        autoencoder_batch_size: images per step of the autoencoder.
        autoencoder_learning_rate: peak learning rate of the autoencoder.
        autoencoder_widths: channels of the stages of the autoencoder; every stage but the last
            halves the height and width.
        latent_channels: channels of a latent image.
        divergence: weight of the Kullback-Leibler divergence between the latents and unit noise.
        widths: channels of the stages of the noise predictor; every stage but the first attends to
            the prompt.
        heads: number of attention heads in each stage.
        text_width: length of the embedding vectors of the prompt.
        prompt_dropout: share of the training images that are shown without their prompt.
        ema: decay of the moving average of the weights; the averaged weights are saved.
        checkpoint_every: steps between two checkpoints.
    """

    steps: int = 2500
    batch_size: int = 64
    learning_rate: float = 1e-3
    autoencoder_steps: int = 2500
    autoencoder_batch_size: int = 64
    autoencoder_learning_rate: float = 2e-3
    autoencoder_widths: tuple[int, ...] = (32, 64)
    latent_channels: int = 4
    divergence: float = 1e-6
    widths: tuple[int, ...] = (64, 128, 128)
    heads: int = 4
    text_width: int = 128
    prompt_dropout: float = 0.12
    ema: float = 0.999
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "autoencoder_steps", "autoencoder_batch_size"):
            require(getattr(self, name) >= 1, f"backbone {name} must be at least 1.")
        for name in ("learning_rate", "autoencoder_learning_rate"):
            require(0 < getattr(self, name) < inf, f"backbone {name} must be positive and finite.")
        require(0 <= self.divergence < inf, "backbone divergence must be 0 or positive and finite.")
        require(self.latent_channels >= 1, "backbone latent_channels must be at least 1.")
        require(self.checkpoint_every >= 1, "backbone checkpoint_every must be at least 1.")
        require(self.heads >= 1, "backbone heads must be at least 1.")
        for name in ("autoencoder_widths", "widths"):
            widths = getattr(self, name)
            require(
                len(widths) >= 2 and all(width >= 8 and width % 8 == 0 for width in widths),
                f"backbone {name} must be at least two multiples of 8.",
            )
        require(
            all(width % self.heads == 0 for width in (*self.widths, self.text_width)),
            "backbone widths and text_width must be multiples of heads.",
        )
        require(0 <= self.prompt_dropout < 1, "backbone prompt_dropout must be below 1.")
        require(0 <= self.ema < 1, "backbone ema must be at least 0 and less than 1.")
