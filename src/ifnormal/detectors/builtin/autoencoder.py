"""Autoencoder: the squared error of an image that was restored from few numbers.

Bergmann, Löwe, Fauser, Sattlegger, Steger, "Improving Unsupervised Defect Segmentation by Applying
Structural Similarity to Autoencoders", VISAPP 2019, with their ℓ² distance (equation 2).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.config import DetectorConfig
from ifnormal.detectors.builtin.autoencoder_network import ConvolutionalAutoencoder
from ifnormal.detectors.builtin.reconstruction import ReconstructionDetector


class Autoencoder(ReconstructionDetector):
    """The squared error of each pixel, the mean over the channels."""

    def __init__(self, config: DetectorConfig, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.network = ConvolutionalAutoencoder(shape, config.width)

    def loss(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """The mean squared error; see `ReconstructionDetector.loss`."""
        (restored,) = self.network.decode(*self.network.encode(images))
        return F.mse_loss(restored.float(), images)

    def errors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Squared errors and codes; see `ReconstructionDetector.errors`."""
        (codes,) = self.network.encode(images)
        (restored,) = self.network.decode(codes)
        return (restored - images).square().mean(1), codes
