"""ReconstructionDetector: the base class of detectors that restore images from few numbers."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.common.compute import channels_last, make_fabric
from ifnormal.common.pixels import to_float
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.augmentation import augment, is_used
from ifnormal.detectors.builtin.autoencoder_network import ConvolutionalAutoencoder
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.optimization import minimize

_WORST = 0.02
_STEEPEST = 1.0
_SAMPLE = 1024  # images


class ReconstructionDetector(BuiltinDetector):
    """A detector that learned to restore normal images, and fails at what it has never seen.

    A subclass defines `network`, `loss` and `errors`.
    """

    network: ConvolutionalAutoencoder

    @abstractmethod
    def loss(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """The loss of a training step, of normal images (N, C, H, W) in [0, 1]; a scalar."""

    @abstractmethod
    def errors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Error maps (N, H, W), at least 0, and codes (N, F), of images (N, C, H, W) in [0, 1]."""

    def fit(self, setup: AnomalySetup, seed: int, log: Path | None = None) -> None:
        """Train the network on normal images; see `BuiltinDetector.fit`."""
        config, fabric = self.config, make_fabric()
        rng = torch.Generator().manual_seed(seed)
        self.to(fabric.device)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        order = torch.randperm(len(setup.train_normal), generator=rng)
        sample = to_float(setup.train_normal[order[:_SAMPLE]])
        self.network.fit_statistics(sample.to(fabric.device))
        augmented = is_used(config, len(setup.train_normal))

        def loss_of_step() -> Tensor:
            chosen = torch.randint(len(setup.train_normal), (config.batch_size,), generator=rng)
            images = to_float(setup.train_normal[chosen])
            if augmented:
                images = augment(images, config, rng)
            with fabric.autocast():
                return self.loss(channels_last(images.to(fabric.device)), rng)

        def backward(loss: Tensor) -> None:
            fabric.backward(loss)
            nn.utils.clip_grad_norm_(self.parameters(), _STEEPEST)

        minimize(loss_of_step, self.parameters(), config, log, backward)
        self.cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms (N,) of the mean of the largest 2 % of errors, and codes (N, F)."""
        errors, codes = self.errors(images)
        flat = smoothed(errors).flatten(1)
        worst = flat.topk(max(1, round(_WORST * flat.shape[1])), 1).values
        return worst.mean(1).clamp_min(1e-12).log(), codes

    def heatmap(self, images: Tensor) -> Tensor:
        """Smoothed errors (N, H, W), float32 and at least 0, of (N, C, H, W) images in [0, 1]."""
        return smoothed(self.errors(images)[0])


def smoothed(heat: Tensor) -> Tensor:
    """(N, H, W), each pixel the mean of a square of about 1/32 of the longer side."""
    reach = round(max(heat.shape[1:]) / 64)
    side = 2 * reach + 1
    return F.avg_pool2d(heat[:, None], side, 1, reach, count_include_pad=False)[:, 0]
