"""NormalModes: the distinct ways of being normal, told apart by the detector's own features."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_COMPONENTS = 16
_SAMPLE = 10_000
_RIDGE = 1e-4
_TEMPERATURE = 4.0


class NormalModes(nn.Module):
    """K Gaussian components of the normal training images in the detector's feature space.

    Several classes may be normal (any *one*, or any digit in *cyan*); an anomaly can then become
    normal for several reasons. Each concept is given one component to aim at, so that the concepts
    partition what is normal instead of sharing one way in K tints.

    Full covariances matter: a detector's features of one normal class stretch along that class's
    own directions, which k-means, with its round clusters, cuts across.
    """

    mean: Tensor
    projection: Tensor
    centres: Tensor
    whitening: Tensor
    log_weights: Tensor

    def __init__(self, features: int, concepts: int) -> None:
        super().__init__()
        size = min(_COMPONENTS, features)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("projection", torch.zeros(features, size))
        self.register_buffer("centres", torch.zeros(concepts, size))
        self.register_buffer("whitening", torch.eye(size).repeat(concepts, 1, 1))
        self.register_buffer("log_weights", torch.zeros(concepts))

    @classmethod
    def fit(cls, features: Tensor, concepts: int, seed: int) -> NormalModes:
        """A Gaussian mixture on the principal components of (N, F) features of normal images."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        modes = cls(features.shape[1], concepts)
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
        sample = features[order[:_SAMPLE]].double()
        modes.mean = sample.mean(0).float()
        _, values, directions = torch.linalg.svd(sample - sample.mean(0), full_matrices=False)
        size = modes.projection.shape[1]
        spread = values[:size].square().mean().sqrt() / len(sample) ** 0.5 + 1e-12
        modes.projection[:, : len(values)] = (directions[:size].T / spread).float()
        points = modes.project(sample.float()).double().numpy()
        mixture = GaussianMixture(
            concepts, covariance_type="full", n_init=4, reg_covar=_RIDGE, random_state=seed
        )
        with warnings.catch_warnings():
            # Features without K modes make poor components, not an error: the figures will tell.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(points)
        modes.centres = torch.from_numpy(mixture.means_).float()
        modes.whitening = torch.from_numpy(mixture.precisions_cholesky_).float()
        modes.log_weights = torch.from_numpy(mixture.weights_).float().clamp_min(1e-6).log()
        return modes

    def project(self, features: Tensor) -> Tensor:
        """(N, F) features on the leading principal components of normal images, (N, P)."""
        return (features.float() - self.mean) @ self.projection

    def log_probabilities(self, features: Tensor) -> Tensor:
        """(N, F) features to (N, K) log-probabilities of the modes; gradient flows.

        With Student's tails instead of Gaussian ones, so that the gradient stays bounded for an
        image that is still far from every mode.
        """
        centred = self.project(features)[:, None] - self.centres
        white = torch.einsum("nkp,kpq->nkq", centred, self.whitening)
        volume = self.whitening.diagonal(dim1=1, dim2=2).log().sum(1)
        size = white.shape[2]
        tails = size * torch.log1p(white.square().sum(2) / size)
        return F.log_softmax((self.log_weights + volume - tails) / _TEMPERATURE, 1)
