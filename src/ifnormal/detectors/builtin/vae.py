"""VAE: how improbable an image is to a variational autoencoder of normal images.

Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014; the score is the reconstruction
probability of An and Cho, "Variational Autoencoder based Anomaly Detection using Reconstruction
Probability", 2015, at the mean of the code instead of at random codes, so that an image has one
score and a gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.config import DetectorConfig
from ifnormal.detectors.builtin.autoencoder_network import ConvolutionalAutoencoder
from ifnormal.detectors.builtin.reconstruction import ReconstructionDetector

# Of the logarithm of a pixel's variance: a standard deviation of 1/90, three of 256 levels, to 1.
# Without a lower bound, pixels that never change make the likelihood infinite.
_LEAST, _MOST = -9.0, 0.0


class Vae(ReconstructionDetector):
    """A diagonal Gaussian of the pixels, whose means and variances are decoded from the code.

    The error of a pixel is its squared deviation from the mean in units of its variance, so that
    edges, which are never restored exactly, count less than a mark on a plain ground.
    """

    def __init__(self, config: DetectorConfig, shape: tuple[int, int, int]) -> None:
        super().__init__(config, shape)
        self.network = ConvolutionalAutoencoder(shape, config.width, parts=2, maps=2)

    def loss(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """The negative ELBO with one random code an image, per pixel and channel."""
        mean, log_variance = (part.float() for part in self.network.encode(images))
        noise = torch.randn(mean.shape, generator=rng).to(mean.device)
        codes = mean + noise * (log_variance / 2).exp()
        restored, spread = (part.float() for part in self.network.decode(codes))
        likelihood = log_likelihood(images, restored, bounded(spread))
        return (divergence(mean, log_variance) - likelihood).mean() / images[0].numel()

    def errors(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Squared errors by variance, and mean codes; see `ReconstructionDetector.errors`."""
        codes, _ = self.network.encode(images)
        restored, spread = self.network.decode(codes)
        return ((images - restored).square() / bounded(spread).exp()).mean(1), codes


def bounded(log_variance: Tensor) -> Tensor:
    """Log variances between −9 and 0, smooth so that there is always a gradient."""
    return _LEAST + (_MOST - _LEAST) * log_variance.sigmoid()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence (N,) of diagonal Gaussians (N, F) from the standard one (appendix B)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2


def log_likelihood(images: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log-likelihood (N,) of images under Gaussians of the pixels, (N, C, H, W) each.

    The constant −½ log 2π of each pixel is left out.
    """
    terms = (images - mean).square() / log_variance.exp() + log_variance
    return -terms.flatten(1).sum(1) / 2
