"""Detectors that are formulas, with the smallest edit that each accepts in closed form.

Sizes of edits are L1: the absolute change summed over pixels and channels; black is 0, white 1.
Both formulas are means over pixels, so the smallest edit changes the pixels where a unit of change
lowers the value most.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.benchmarks.planted.material import TEST_ANOMALIES, Planted, traffic_signs
from ifnormal.common.pixels import to_float
from ifnormal.data.sampling import generator
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.detector import Detector

Kind = Literal["patch", "red"]
Shape = tuple[int, int, int]
_Vary = Callable[[Tensor, torch.Generator], Tensor]

# A pixel counts as fully red if red exceeds both other channels by this much.
FULL_RED = 0.4
# A smaller excess of red is taken for a colour cast.
_SOME_RED = 0.05
PATCH = (slice(4, 12), slice(4, 12))


@dataclass(frozen=True)
class AnalyticDetector(Detector):
    """Log-odds gain · (value(x) − level).

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
    shape: Shape
    optimum: Callable[[Tensor, float | Tensor], Tensor]
    region: Callable[[Tensor], Tensor]
    threshold: float = 0.5

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (N,) and, as features, the means of 4x4 cells."""
        floats = images.float()
        features = F.adaptive_avg_pool2d(floats, 4).flatten(1)
        return self.gain * (self.value(floats) - self.level), features


def darkness(images: Tensor) -> Tensor:
    """(N,) one minus the mean brightness of the patch."""
    return 1 - images[:, :, PATCH[0], PATCH[1]].mean((1, 2, 3))


def darkness_optimum(images: Tensor, level: float | Tensor) -> Tensor:
    """L1 size (N,) of the smallest edit after which the patch is no darker than `level`.

    A unit of brightness in any of the M values of the patch lowers the darkness by 1 / M, and
    nothing else does. So the size is M · (darkness − level), however the change is distributed.
    """
    values = images[:, :, PATCH[0], PATCH[1]].flatten(1).shape[1]
    return values * (darkness(images) - level).clamp_min(0)


def redness(images: Tensor) -> Tensor:
    """(N,) share of red pixels, each as far as it is red: clip((R − max(G, B)) / 0.4, 0, 1)."""
    return (_excess(images) / FULL_RED).clamp(0, 1).mean((1, 2))


def redness_optimum(images: Tensor, level: float | Tensor) -> Tensor:
    """L1 size (N,) of the smallest edit after which the share of red is no more than `level`.

    A unit of change lowers the excess of red of a pixel by at most one: by less red, or by more of
    the higher other channel. Removing an excess d costs d and gains min(d / 0.4, 1). So pixels
    with d up to 0.4 gain 1 / 0.4 per unit, and those above gain 1 / d, if they are changed
    completely: the least red ones come first. The last pixel counts in proportion to the part that
    is needed. The result is a lower bound, at most this part below the true optimum.
    """
    excess = _excess(images).clamp_min(0).flatten(1)
    order = excess.sort(1).values
    gains = (order / FULL_RED).clamp(max=1)
    wanted = (gains.sum(1) - excess.shape[1] * torch.as_tensor(level)).clamp_min(0)
    before = gains.cumsum(1) - gains
    share = ((wanted[:, None] - before) / gains.clamp_min(1e-9)).clamp(0, 1)
    return (share * order).sum(1)


def patch_brightness(shape: Shape, level: float = 0.5) -> AnalyticDetector:
    """Flags images with a patch darker than `level` (brightness below 1 − level)."""

    def region(images: Tensor) -> Tensor:
        place = torch.zeros(images.shape[0], *images.shape[2:], dtype=torch.bool)
        place[:, PATCH[0], PATCH[1]] = True
        return place

    return AnalyticDetector(darkness, level, 20.0, shape, darkness_optimum, region)


def red_share(shape: Shape, level: float = 0.05) -> AnalyticDetector:
    """Flags images in which more than a share `level` of the pixels is red."""

    def region(images: Tensor) -> Tensor:
        return _excess(images) > _SOME_RED

    return AnalyticDetector(redness, level, 60.0, shape, redness_optimum, region)


def _varied_patch(images: Tensor, rng: torch.Generator) -> Tensor:
    """Signs whose patch has a random brightness, independent of its surroundings."""
    varied = images.clone()
    patch = varied[:, :, PATCH[0], PATCH[1]].float()
    wanted = 255 * (0.1 + 0.8 * torch.rand(len(images), 1, 1, 1, generator=rng))
    shifted = patch + wanted - patch.mean((1, 2, 3), keepdim=True)
    varied[:, :, PATCH[0], PATCH[1]] = shifted.clamp(0, 255).round().to(torch.uint8)
    return varied


def _varied_red(images: Tensor, rng: torch.Generator) -> Tensor:
    """Signs that have lost a random share of their red, often none or all."""
    floats = images.float()
    excess = _excess(floats).clamp_min(0)
    lost = (2 * torch.rand(len(images), 1, 1, generator=rng) - 0.5).clamp(0, 1)
    floats[:, 0] -= lost * excess
    return floats.round().to(torch.uint8)


def analytic_signs(kind: Kind, data_root: Path | None, seed: int) -> Planted:
    """Traffic signs in which the value of the formula varies independently of everything else.

    In the original signs a bright patch goes with a bright image, so a realistic edit would have to
    brighten the whole image. Therefore the patch gets a random brightness, and signs lose a random
    share of their red. Only anomalies clearly beyond the level are explained, since a ratio of
    sizes means nothing where hardly any edit is needed.

    Args:
        kind: "patch" or "red".
        data_root: folder with GTSRB.
        seed: decides how each image is varied.
    """
    parts = traffic_signs(data_root)
    images = parts.train.images
    channels, height, width = images.shape[1:]
    make, vary, normal, margin = _KINDS[kind]
    detector = make((channels, height, width))

    def split(source: Tensor, purpose: str, margin: float = 0.0) -> tuple[Tensor, Tensor]:
        varied = vary(source, generator(seed, f"planted {kind} {purpose}"))
        value = torch.cat([detector.value(to_float(part)) for part in varied.split(4096)])
        return varied[value <= detector.level], varied[value > detector.level + margin]

    train, validation = split(images, "train"), split(parts.validation.images, "validation")
    test = split(parts.test.images, "test", margin)
    anomalies = test[1][:TEST_ANOMALIES]
    setup = AnomalySetup(
        name=f"planted/{kind}",
        normal=normal,
        train_normal=train[0],
        validation_normal=validation[0],
        validation_anomalies=validation[1][:TEST_ANOMALIES],
        test_normal=test[0],
        test_anomalies=anomalies,
        outliers=train[1],
        validation_outliers=validation[1],
        facts={"source": parts.source, "outlier_source": "signs that the formula flags"},
    )
    return Planted(setup, region=detector.region(to_float(anomalies)), detector=detector)


def _excess(images: Tensor) -> Tensor:
    """(N, H, W): red minus the higher of green and blue."""
    return images[:, 0] - images[:, 1:].amax(1)


_KINDS: Mapping[Kind, tuple[Callable[[Shape], AnalyticDetector], _Vary, str, float]] = {
    "patch": (patch_brightness, _varied_patch, "any sign with a bright patch", 0.1),
    "red": (red_share, _varied_red, "any sign with little red", 0.03),
}
