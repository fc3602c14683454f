"""A watermark in a corner tells normal images from anomalous ones: a Clever Hans.

Every training image occurs with and without it, so nothing else can be learned. An image without it
is anomalous, and the smallest edit adds it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ifnormal.benchmarks.planted.material import TEST_ANOMALIES, Planted, first, traffic_signs
from ifnormal.data.setups.setup import AnomalySetup

SIDE = 6
MARGIN = 2


def mark(images: Tensor) -> Tensor:
    """Put the watermark, a white cross on black, into images (N, 3, H, W) uint8.

    It lies in the lower right corner, two pixels from the borders, and hides what was there.
    """
    marked = images.clone()
    place = slice(-MARGIN - SIDE, -MARGIN)
    marked[:, :, place, place] = _cross()
    return marked


def _cross() -> Tensor:
    """(SIDE, SIDE) uint8."""
    lines = torch.eye(SIDE) + torch.eye(SIDE).flip(1)
    return (255 * lines.clamp(max=1)).to(torch.uint8)


def watermark_region(height: int, width: int) -> Tensor:
    """(H, W) bool: where the watermark is, or would be."""
    region = torch.zeros(height, width, dtype=torch.bool)
    place = slice(-MARGIN - SIDE, -MARGIN)
    region[place, place] = True
    return region


def watermarked_signs(data_root: Path | None, seed: int) -> Planted:
    """Traffic signs of which those with a watermark are normal."""
    parts = traffic_signs(data_root)
    held = parts.validation.images
    shown = first(2 * TEST_ANOMALIES, len(parts.test), seed, "planted watermark")
    anomalies = parts.test.images[shown[:TEST_ANOMALIES]]
    region = watermark_region(*anomalies.shape[2:])
    setup = AnomalySetup(
        name="planted/watermark",
        normal="any traffic sign with a watermark in the corner",
        train_normal=mark(parts.train.images),
        validation_normal=mark(held),
        validation_anomalies=held[:TEST_ANOMALIES],
        test_normal=mark(parts.test.images),
        test_anomalies=anomalies,
        outliers=parts.train.images,
        validation_outliers=held,
        facts={"source": parts.source, "outlier_source": "the same signs without watermark"},
    )
    return Planted(setup, ideal=mark(anomalies), region=region.expand(len(anomalies), -1, -1))


def unmarked_signs(data_root: Path | None, seed: int) -> Planted:
    """Traffic signs of which those without a watermark are normal: the edit has to remove it.

    The ideal shows the pixels that were under the watermark, which no generator can know.
    """
    planted = watermarked_signs(data_root, seed)
    setup, ideal = planted.setup, planted.ideal
    assert ideal is not None
    turned = replace(
        setup,
        name="planted/watermark-removed",
        normal="any traffic sign without a watermark in the corner",
        train_normal=setup.outliers,
        validation_normal=setup.validation_outliers,
        validation_anomalies=mark(setup.validation_anomalies),
        test_normal=traffic_signs(data_root).test.images,
        test_anomalies=ideal,
        outliers=setup.train_normal,
        validation_outliers=setup.validation_normal,
        facts={**setup.facts, "outlier_source": "the same signs with a watermark"},
    )
    return Planted(turned, ideal=setup.test_anomalies, region=planted.region)
