"""How many images given as normal are not: the estimate from scores, and who gives the scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.errors import UserError
from ifnormal.config import DetectorConfig
from ifnormal.detectors.builtin.cross_fitting import KINDS, _scores, cross_fitted_scores
from ifnormal.detectors.builtin.kinds import new_detector
from ifnormal.evaluation.contamination import (
    combined,
    estimate_contamination,
    known_contamination,
)
from ifnormal.features.extractor import FeatureExtractor
from ifnormal.features.remembered import RememberedMaps


def distances(seed: int, normal: int, odd: int = 0, detectors: int = 2) -> np.ndarray:
    """Log-normal scores; those of the anomalies, which come last, are 8 deviations higher."""
    z = np.random.default_rng(seed).normal(size=(normal + odd, detectors))
    z[normal:] += 8
    return np.exp(0.1 * z)


class TestEstimate:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("images", [60, 200, 500])
    def test_clean_scores(self, images: int, seed: int) -> None:
        found = estimate_contamination(distances(seed, images))
        assert found.low == 0
        assert found.share < 0.02
        assert found.suspects == ()

    @pytest.mark.parametrize("seed", range(3))
    def test_a_long_tail_is_no_contamination(self, seed: int) -> None:
        z = np.random.default_rng(seed).standard_t(8, size=200)
        found = estimate_contamination(np.exp(0.1 * np.where(z > 0, 1.4 * z, z)))
        assert found.low == 0
        assert len(found.suspects) <= 2

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("odd", [4, 20, 40])
    def test_anomalies_far_out(self, odd: int, seed: int) -> None:
        found = estimate_contamination(distances(seed, 200 - odd, odd))
        assert found.low <= odd / 200 <= found.high
        assert found.low > 0
        assert set(found.suspects) == set(range(200 - odd, 200))
        assert found.share == pytest.approx(odd / 200, abs=0.02)

    def test_what_detectors_cannot_see_is_not_counted(self) -> None:
        assert estimate_contamination(distances(0, 200)[:, :1]).high < 0.05

    @given(st.floats(1e-3, 1e3), st.integers(0, 5))
    @settings(max_examples=2)
    def test_neither_unit_nor_order_counts(self, unit: float, seed: int) -> None:
        scores = distances(0, 36, 4, 1)[:, 0]
        order = np.random.default_rng(seed).permutation(40)
        found, other = estimate_contamination(scores), estimate_contamination(unit * scores[order])
        assert other.share == pytest.approx(found.share)
        assert np.array(other.probabilities) == pytest.approx(np.array(found.probabilities)[order])

    def test_the_farther_the_more_suspect(self) -> None:
        scores = np.exp(0.1 * np.append(np.random.default_rng(0).normal(size=99), 1000))
        found = estimate_contamination(scores)
        assert found.suspects == (99,)
        z = combined(scores)
        assert (np.diff(np.array(found.probabilities)[np.argsort(z)]) >= 0).all()

    def test_far_below_is_normal(self) -> None:
        z = np.append(np.random.default_rng(0).normal(size=97), [-50, -20, -8])
        found = estimate_contamination(z)
        assert found.low == 0
        assert max(found.probabilities[-3:]) < 0.01

    def test_scores_below_zero_are_taken_as_they_are(self) -> None:
        z = np.append(np.random.default_rng(0).normal(size=95), [12.0] * 5)
        assert set(estimate_contamination(z).suspects) == set(range(95, 100))

    def test_a_known_share_takes_the_highest_scores(self) -> None:
        scores = np.arange(1.0, 41.0)
        found = known_contamination(scores, 0.05)
        assert found.suspects == (39, 38)
        assert (found.low, found.share, found.high) == (0.05, 0.05, 0.05)
        assert sum(found.probabilities) == 2
        assert known_contamination(scores, 0.0).suspects == ()

    def test_too_few(self) -> None:
        with pytest.raises(UserError, match="at least 20 images, not 19"):
            estimate_contamination(np.arange(1.0, 20.0))

    def test_the_same_scores(self) -> None:
        with pytest.raises(UserError, match="same anomaly score"):
            estimate_contamination(np.ones((30, 2)))


class Tiny(FeatureExtractor):
    """Mean colours at two resolutions; counts the images it sees."""

    name = "tiny"
    channels = (3, 3)
    middle = (0,)

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def compute_maps(self, images: Tensor, stages: Sequence[int]) -> list[Tensor]:
        self.seen += len(images)
        return [F.adaptive_avg_pool2d(images, 4 - 2 * stage) for stage in stages]

    def compute_pooled(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Tiny:
    network = Tiny()
    monkeypatch.setattr(
        "ifnormal.detectors.builtin.feature_detector.feature_extractor", lambda *_: network
    )
    return network


def noise(count: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8)


class TestCrossFitting:
    def test_no_image_is_scored_by_a_detector_fitted_to_it(self, tiny: Tiny) -> None:
        images = noise(20)
        found = cross_fitted_scores(images, 3, extractor=RememberedMaps(tiny, (0, 1)))
        assert found.shape == (20, 2)
        others, held_out = next(KFold(5, shuffle=True, random_state=3).split(images))
        for number, kind in enumerate(KINDS):
            detector = new_detector(DetectorConfig(objective=kind), (3, 8, 8))
            expected = _scores(detector, images[others], images[held_out], 3)
            assert torch.allclose(found[held_out, number], expected, rtol=1e-4)

    def test_the_network_sees_each_image_once(self, tiny: Tiny) -> None:
        cross_fitted_scores(noise(15), 0, extractor=RememberedMaps(tiny, (0, 1)))
        assert tiny.seen == 15

    def test_progress(self, tiny: Tiny) -> None:
        told: list[int] = []
        cross_fitted_scores(noise(10), 0, told.append, RememberedMaps(tiny, (0, 1)))
        assert told == list(range(1, 11))

    def test_fewer_images_than_folds(self) -> None:
        with pytest.raises(UserError, match="at least 5 images, not 1"):
            cross_fitted_scores(noise(1), 0)

    def test_constant_images(self, tiny: Tiny) -> None:
        images = torch.full((30, 3, 8, 8), 7, dtype=torch.uint8)
        with pytest.raises(UserError, match="same features"):
            cross_fitted_scores(images, 0, extractor=RememberedMaps(tiny, (0, 1)))


def test_remembered_maps_are_those_of_the_network() -> None:
    network, images = Tiny(), noise(6).float() / 255
    remembered = RememberedMaps(network, (0, 1))
    expected = network.maps(images, (1, 0))
    for _ in range(2):
        for found, wanted in zip(remembered.maps(images.flip(0), (1, 0)), expected, strict=True):
            assert torch.equal(found, wanted.flip(0))
    assert network.seen == 12
    assert torch.equal(remembered.pooled(images), network.pooled(images))
