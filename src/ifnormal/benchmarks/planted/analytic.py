"""Detectors that are a formula, and the smallest edit that each would accept, in closed form.

Sizes of edits are L1: the absolute change summed over pixels and channels, on the scale where
black is 0 and white 1. Both formulas are means of what each pixel contributes, so the smallest
edit is a matter of where a unit of change buys most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.data.setup import AnomalySetup

# A pixel is wholly red where red exceeds both others by so much.
FULL_RED = 0.4
PATCH = (slice(4, 12), slice(4, 12))


@dataclass(frozen=True)
class AnalyticDetector:
    """Log-odds gain · (value(x) − level); meets the `Detector` protocol.

    Attributes:
        value: (N, C, H, W) in [0, 1] -> (N,), more is more anomalous.
        level: values above it are flagged.
        gain: log-odds a unit of the value.
        shape: (C, H, W) of the images.
        optimum: (N, C, H, W) in [0, 1] -> (N,), the L1 size of the smallest edit that brings the
            value down to a level (N,) or to one for all.
        region: (N, C, H, W) in [0, 1] -> (N, H, W) bool, where the reason is.
    """

    value: Callable[[Tensor], Tensor]
    level: float
    gain: float
    shape: tuple[int, int, int]
    optimum: Callable[[Tensor, float | Tensor], Tensor]
    region: Callable[[Tensor], Tensor]
    threshold: float = 0.5

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (N,) and, as features, the means of 4x4 cells."""
        floats = images.float()
        features = F.adaptive_avg_pool2d(floats, 4).flatten(1)
        return self.gain * (self.value(floats) - self.level), features

    def __call__(self, images: Tensor) -> Tensor:
        """Scores (N,) in [0, 1]."""
        return self.inspect(images)[0].sigmoid()


def darkness(images: Tensor) -> Tensor:
    """(N,) one minus the mean brightness of the patch."""
    return 1 - images[:, :, PATCH[0], PATCH[1]].mean((1, 2, 3))


def darkness_optimum(images: Tensor, level: float | Tensor) -> Tensor:
    """L1 size (N,) of the smallest edit after which the patch is no darker than `level`.

    A unit of brightness anywhere in the patch, in any channel, lowers the darkness by one over the
    number M of its values, and nothing else does: M · (darkness − level), however it is spread.
    """
    values = images[:, :, PATCH[0], PATCH[1]].flatten(1).shape[1]
    return values * (darkness(images) - level).clamp_min(0)


def redness(images: Tensor) -> Tensor:
    """(N,) share of red pixels, each as far as it is red: clip((R − max(G, B)) / 0.4, 0, 1)."""
    return (_excess(images) / FULL_RED).clamp(0, 1).mean((1, 2))


def redness_optimum(images: Tensor, level: float | Tensor) -> Tensor:
    """L1 size (N,) of the smallest edit after which the share of red is no more than `level`.

    A unit of change lowers a pixel's excess of red by one at the most: by taking away red, or by
    adding what is highest of the others. To make a pixel that has the excess d count for nothing
    costs d and gains min(d / 0.4, 1). So pixels up to 0.4 gain 1 / 0.4 a unit, at any depth, and
    above it 1 / d, all or nothing: the least red of these first. The last pixel that is needed may
    be needed in part only, and is charged in proportion: a lower bound that is at most that one
    pixel's part below the true optimum.
    """
    excess = _excess(images).clamp_min(0).flatten(1)
    order = excess.sort(1).values
    gains = (order / FULL_RED).clamp(max=1)
    wanted = (gains.sum(1) - excess.shape[1] * torch.as_tensor(level)).clamp_min(0)
    before = gains.cumsum(1) - gains
    share = ((wanted[:, None] - before) / gains.clamp_min(1e-9)).clamp(0, 1)
    return (share * order).sum(1)


def patch_brightness(shape: tuple[int, int, int], level: float = 0.6) -> AnalyticDetector:
    """Flags images with a patch darker than `level` (brightness below 1 − level)."""

    def region(images: Tensor) -> Tensor:
        place = torch.zeros(images.shape[0], *images.shape[2:], dtype=torch.bool)
        place[:, PATCH[0], PATCH[1]] = True
        return place

    return AnalyticDetector(darkness, level, 20.0, shape, darkness_optimum, region)


def red_share(shape: tuple[int, int, int], level: float = 0.05) -> AnalyticDetector:
    """Flags images in which more than a share `level` of the pixels is red."""

    def region(images: Tensor) -> Tensor:
        return _excess(images) > 0

    return AnalyticDetector(redness, level, 60.0, shape, redness_optimum, region)


def split_by(
    detector: AnalyticDetector, images: Tensor, margin: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Normal images and anomalies of (N, C, H, W) uint8, by the detector's own word.

    Anomalies less than `margin` above the level are in neither: what needs no edit to speak of
    would make any ratio of sizes look bad.
    """
    value = torch.cat([detector.value(part.float() / 255) for part in images.split(4096)])
    return images[value <= detector.level], images[value > detector.level + margin]


def analytic_setup(
    name: str,
    normal: str,
    parts: tuple[Tensor, Tensor, Tensor],
    detector: AnalyticDetector,
    margin: float,
    anomalies: int,
) -> AnomalySetup:
    """The setup of a formula: training, validation and test images split by its word."""
    train, validation, test = (split_by(detector, images, margin) for images in parts)
    return AnomalySetup(
        name=name,
        normal=normal,
        train_normal=train[0],
        validation_normal=validation[0],
        validation_anomalies=validation[1][:anomalies],
        test_normal=test[0],
        test_anomalies=test[1][:anomalies],
        outliers=train[1],
        validation_outliers=validation[1],
        facts={"source": "GTSRB", "outlier_source": "other traffic signs"},
    )


def _excess(images: Tensor) -> Tensor:
    """(N, H, W): red minus the higher of green and blue."""
    return images[:, 0] - images[:, 1:].amax(1)
