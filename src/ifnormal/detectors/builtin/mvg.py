"""MVG: one Gaussian of the pooled features of a pretrained network.

Rippel, Mertens, Merhof, "Modeling the Distribution of Normal Data in Pre-Trained Deep Features for
Anomaly Detection", ICPR 2021.
"""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import torch
from scipy.stats import chi2
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.feature_detector import FeatureDetector

_TINY = 1e-6


class Mvg(FeatureDetector):
    """The Mahalanobis distance of the mean features of the last stage.

    The covariance is shrunk (Ledoit and Wolf 2004), as there may be fewer images than features.
    """

    mean: Tensor
    precision: Tensor

    def fit(self, setup: AnomalySetup, seed: int, log: Path | None = None) -> None:
        """Estimate mean and precision; see `BuiltinDetector.fit`."""
        features = self.features_of(setup, self._features, "mean of the last stage")
        self.register_buffer("mean", features.mean(0))
        self.register_buffer("precision", _precision(features.double()).float())

    def _features(self, images: Tensor) -> Tensor:
        last = len(self.extractor.channels) - 1
        return self.extractor.maps(images, (last,))[0].mean((2, 3))

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mahalanobis distances (N,) and the features (N, F)."""
        features = self._features(images)
        apart = features - self.mean
        return ((apart @ self.precision) * apart).sum(1).clamp_min(1e-12).sqrt(), features

    def calibrated_threshold(self, normal: Tensor) -> float:
        """The quantile of a χ² distribution of squared distances (Rippel et al., section III-C).

        With shrunk covariances its degrees of freedom are not the number of features. The scaled χ²
        with the mean and variance of the held-out squared distances takes its place.
        """
        squared = normal.double().square()
        mean, variance = float(squared.mean()), float(squared.var())
        if not variance > 0:
            return super().calibrated_threshold(normal)
        freedom = 2 * mean**2 / variance
        limit = chi2.ppf(1 - self.config.false_alarm_rate, freedom) * mean / freedom
        return float(self.calibration(torch.tensor(sqrt(limit))).sigmoid())


def _precision(features: Tensor) -> Tensor:
    """The inverse (F, F) of the shrunk covariance of (N, F) features."""
    covariance = torch.from_numpy(ledoit_wolf(features.numpy())[0])
    # Features that never change have no variance at all.
    return torch.linalg.inv(covariance + _TINY * torch.eye(len(covariance)))
