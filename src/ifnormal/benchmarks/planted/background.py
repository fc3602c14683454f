"""Digits on two kinds of background, one of which is normal; the digit does not matter.

Both kinds vary in shade and in their coarse clouds; one is green, like grass, the other sandy.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.benchmarks.planted.material import (
    TEST_ANOMALIES,
    Planted,
    digit_drawings,
    first,
)
from ifnormal.data.sampling import generator
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.sources.digits import DIGITS

BACKGROUNDS = ("grass", "sand")
GRASS, SAND = 0, 1
_MEAN = torch.tensor([[0.15, 0.45, 0.15], [0.65, 0.5, 0.25]])
_SHADE, _CLOUDS = 0.06, 0.12
_TRAIN, _HELD_OUT, _JUDGE = 12_000, 1_000, 30_000
# Opacity from which a pixel belongs to the digit.
_DIGIT = 230


def backgrounds(kinds: Tensor, rng: torch.Generator) -> Tensor:
    """(N, 3, 32, 32) float in [0, 1], of kinds (N,)."""
    count = len(kinds)
    shade = _SHADE * torch.randn(count, 3, 1, 1, generator=rng)
    coarse = torch.rand(count, 1, 6, 6, generator=rng) - 0.5
    clouds = F.interpolate(coarse, (32, 32), mode="bilinear", align_corners=False)
    fine = 0.02 * torch.randn(count, 1, 32, 32, generator=rng)
    return (_MEAN[kinds][:, :, None, None] + shade + 2 * _CLOUDS * clouds + fine).clamp(0, 1)


def composed(drawings: Tensor, grounds: Tensor) -> Tensor:
    """White digits on backgrounds: (N, 1, 28, 28) uint8 and (N, 3, 32, 32) floats to uint8."""
    opacity = F.pad(drawings.float() / 255, (2, 2, 2, 2))
    return (255 * (opacity + (1 - opacity) * grounds)).round().to(torch.uint8)


def digits_on_grounds(data_root: Path | None, seed: int) -> Planted:
    """Digits of which those on grass are normal."""
    parts = digit_drawings(data_root)

    def draw(drawings: Tensor, kind: int, purpose: str) -> Tensor:
        rng = generator(seed, f"planted {purpose} {BACKGROUNDS[kind]}")
        return composed(drawings, backgrounds(torch.full((len(drawings),), kind), rng))

    train = parts.train.images[first(_TRAIN, len(parts.train), seed, "planted ground")]
    held = parts.validation.images[first(_HELD_OUT, len(parts.validation), seed, "planted held")]
    order = first(_HELD_OUT + TEST_ANOMALIES, len(parts.test), seed, "planted test ground")
    shown, others = order[:TEST_ANOMALIES], order[TEST_ANOMALIES:]
    drawings = parts.test.images[shown]
    judge = first(_JUDGE, len(parts.train), 0, "planted judge")
    rng = generator(0, "planted judge grounds")
    kinds = torch.randint(2, judge.shape, generator=rng)
    setup = AnomalySetup(
        name="planted/background",
        normal="any digit on grass",
        train_normal=draw(train, GRASS, "train"),
        validation_normal=draw(held, GRASS, "validation"),
        validation_anomalies=draw(held[:TEST_ANOMALIES], SAND, "held"),
        test_normal=draw(parts.test.images[others], GRASS, "test"),
        test_anomalies=draw(drawings, SAND, "test"),
        outliers=draw(train, SAND, "train"),
        validation_outliers=draw(held, SAND, "validation"),
        attributes={
            "test_anomalies": {
                "digit": parts.test.labels[shown],
                "background": torch.full((len(shown),), SAND),
            }
        },
        attribute_names={"digit": DIGITS, "background": BACKGROUNDS},
        judge_images=composed(parts.train.images[judge], backgrounds(kinds, rng)),
        judge_attributes={"digit": parts.train.labels[judge], "background": kinds},
        normal_attributes={"background": (GRASS,)},
        facts={"source": parts.source, "outlier_source": "digits on sand"},
    )
    region = F.pad(drawings, (2, 2, 2, 2))[:, 0] < _DIGIT
    return Planted(setup, ideal=draw(drawings, GRASS, "ideal"), region=region)
