"""NoiseSchedule: noise levels of a diffusion model and DDIM's deterministic way between them.

After Song et al., "Denoising diffusion implicit models" (ICLR 2021), with the velocities of
Salimans and Ho, "Progressive distillation" (ICLR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["epsilon", "v_prediction"]
CLEAN = -1


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """How much of a latent image is left at each time, and how a model speaks of the rest.

    Attributes:
        alphas: (T,) ᾱ_t in (0, 1), falling: the share of the variance that is image.
        prediction: what the model predicts: the noise, or the velocity √ᾱ ε − √(1 − ᾱ) z₀.
        offset: the earliest time that steps go through.
    """

    alphas: Tensor
    prediction: Prediction
    offset: int = 1

    def times(self, steps: int) -> list[int]:
        """`steps` times, evenly spaced, from the latest to the earliest.

        After the earliest comes CLEAN, which is taken for time 0.
        """
        apart = len(self.alphas) // steps
        latest = len(self.alphas) - 1
        return [min(n * apart + self.offset, latest) for n in reversed(range(steps))]

    def add_noise(self, latents: Tensor, noise: Tensor, times: Tensor | int) -> Tensor:
        """z_t of clean latents (N, ...) and noise, at one time or (N,) times."""
        signal, spoilt = self._roots(times, latents)
        return signal * latents + spoilt * noise

    def velocity(self, latents: Tensor, noise: Tensor, times: Tensor | int) -> Tensor:
        """√ᾱ ε − √(1 − ᾱ) z₀ of clean latents (N, ...) and noise."""
        signal, spoilt = self._roots(times, latents)
        return signal * noise - spoilt * latents

    def split(self, output: Tensor, latents: Tensor, times: Tensor | int) -> tuple[Tensor, Tensor]:
        """What a model's output says of noisy latents (N, ...): the clean ones and the noise."""
        signal, spoilt = self._roots(times, latents)
        if self.prediction == "epsilon":
            return (latents - spoilt * output) / signal, output
        return signal * latents - spoilt * output, signal * output + spoilt * latents

    def remix(
        self, noisy: Tensor, latents: Tensor, fresh: Tensor, time: int, keep: float, mix: float
    ) -> Tensor:
        """Noisy latents (N, ...) with a part of their noise replaced, in each of K ways.

        Args:
            noisy: at `time`.
            latents: (N, ...) the clean ones.
            fresh: (K, ...) unit noise.
            time: of the noisy ones.
            keep: factor of the noise that was there.
            mix: factor of the fresh one.

        Returns:
            (N, K, ...) latents at the same time.
        """
        signal, spoilt = self._roots(time, latents)
        noise = (noisy - signal * latents) / spoilt
        mixed = keep * noise[:, None] + mix * fresh[None]
        return (signal * latents)[:, None] + spoilt * mixed

    def _roots(self, times: Tensor | int, like: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ and √(1 − ᾱ), to be multiplied with (N, ...)."""
        at = torch.as_tensor(times, device=self.alphas.device).clamp_min(0)
        alpha = self.alphas[at].to(like.device)
        alpha = alpha.view(-1, *[1] * (like.ndim - 1)) if alpha.ndim else alpha
        return alpha.sqrt().to(like.dtype), (1 - alpha).sqrt().to(like.dtype)
