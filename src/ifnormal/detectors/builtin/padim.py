"""PaDiM: a Gaussian of patch features at each place of the image.

Defard, Setkov, Loesch, Audigier, "PaDiM: a Patch Distribution Modeling Framework for Anomaly
Detection and Localization", ICPR workshops 2021.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.feature_detector import PatchDetector

_REGULARISATION = 0.01  # ε of section III-B


class Padim(PatchDetector):
    """The Mahalanobis distance of each patch to those of normal images at the same place."""

    mean: Tensor
    precision: Tensor

    def fit(self, setup: AnomalySetup, seed: int, log: Path | None = None) -> None:
        """Estimate means and covariances (equation 1); see `BuiltinDetector.fit`."""
        patches = self.normal_patches(setup, seed)
        places = patches.flatten(2).permute(2, 0, 1)
        mean = places.mean(1)
        centred = places - mean[:, None]
        covariance = centred.mT @ centred / (len(patches) - 1)
        identity = torch.eye(covariance.shape[-1])
        self.register_buffer("mean", mean)
        self.register_buffer("precision", torch.linalg.inv(covariance + _REGULARISATION * identity))

    def distances(self, patches: Tensor) -> Tensor:
        """Mahalanobis distances (N, h, w) of patch features (N, F, h, w) (equation 2)."""
        apart = patches.flatten(2).permute(2, 0, 1) - self.mean[:, None]
        squared = ((apart @ self.precision) * apart).sum(-1)
        return squared.clamp_min(1e-12).sqrt().T.unflatten(1, patches.shape[2:])
