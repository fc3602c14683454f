"""The score map: strictly monotone, with a gradient everywhere, there and back."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, tensor

from ifnormal.detectors.adapted.score_map import ScoreMap, fit_score_map, look_like_probabilities
from ifnormal.detectors.adapted.score_model import OutputActivation

HIGHER = st.sampled_from(["anomalous", "normal"])
SCORES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=20)
UNIT = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=20)


def maps() -> st.SearchStrategy[ScoreMap]:
    """Maps as they are fitted on any scores, and on probabilities."""

    def fitted(normal: list[float], outliers: list[float] | None, higher: Any, p: bool) -> ScoreMap:
        return fit_score_map(
            tensor(normal), None if outliers is None else tensor(outliers), higher, p
        )

    return st.one_of(
        st.builds(fitted, SCORES, st.none() | SCORES, HIGHER, st.just(False)),
        st.builds(fitted, UNIT, st.none() | UNIT, HIGHER, st.just(True)),
    )


def sign(map_: ScoreMap) -> int:
    return 1 if map_.higher_is == "anomalous" else -1


@given(maps())
def test_strictly_monotone_over_a_huge_range(map_: ScoreMap) -> None:
    if map_.probabilities:
        own = torch.linspace(0, 1, 2001, dtype=torch.float64)
    else:
        far = torch.logspace(-3, 9, 400, dtype=torch.float64) * map_.scale
        own = sign(map_) * map_.shift + torch.cat([-far.flip(0), far])
    assert (sign(map_) * map_(own).diff() > 0).all()


@given(maps(), st.floats(-1e9, 1e9))
def test_a_finite_gradient_of_the_right_sign_far_from_normal(map_: ScoreMap, far: float) -> None:
    at = min(max(far, 0), 1) if map_.probabilities else sign(map_) * map_.shift + far * map_.scale
    own = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(map_(own), own)
    assert slope.isfinite()
    assert sign(map_) * slope > 0


@given(maps(), st.floats(-20, 20))
def test_there_and_back(map_: ScoreMap, log_odds: float) -> None:
    there = map_.inverse(torch.tensor(log_odds, dtype=torch.float64))
    if map_.probabilities and not 1e-5 < there < 1 - 1e-5:
        return  # numbers next to 1 have too few digits to tell log-odds from
    precision = 1e-6 + 1e-12 * abs(map_.shift / map_.scale)
    assert float(map_(there)) == pytest.approx(log_odds, abs=precision, rel=1e-6)


@given(maps(), st.floats(0, 1))
def test_back_and_there_in_single_precision(map_: ScoreMap, place: float) -> None:
    """Own units are read back from the float32 log-odds that `inspect` returns."""
    if map_.probabilities:
        own, precision = place, 1e-4
    else:
        own = sign(map_) * map_.shift + (place - 0.5) * 1e4 * map_.scale
        precision = 1e-2 * map_.scale
    log_odds = map_(torch.tensor(own, dtype=torch.float64)).float()
    assert float(map_.inverse(log_odds)) == pytest.approx(own, abs=precision, rel=1e-5)


class TestAnchors:
    def test_with_outliers(self) -> None:
        map_ = fit_score_map(tensor([1.0, 2, 3]), tensor([10.0, 20, 900]))
        assert map_(tensor([2.0, 20])).tolist() == pytest.approx([-3, 3])

    def test_without(self) -> None:
        map_ = fit_score_map(torch.arange(101.0), None)
        assert map_(tensor([50.0, 95])).tolist() == pytest.approx([-2.2, 0], abs=1e-9)

    def test_where_high_is_normal(self) -> None:
        map_ = fit_score_map(tensor([1.0, 2, 3]), tensor([-10.0, -20, -30]), "normal")
        assert map_(tensor([2.0, -20])).tolist() == pytest.approx([-3, 3])

    def test_of_probabilities(self) -> None:
        map_ = fit_score_map(
            tensor([0.01, 0.02, 0.05]), tensor([0.9, 0.97, 1.0]), "anomalous", True
        )
        assert map_(tensor([0.02, 0.97])).tolist() == pytest.approx([-3, 3], abs=1e-5)
        assert map_(tensor([0.0, 1.0])).isfinite().all()

    @pytest.mark.parametrize("outliers", [None, tensor([1.0, 1]), tensor([0.0, -5])])
    def test_scores_that_tell_nothing_apart_still_have_a_map(self, outliers: Tensor | None) -> None:
        map_ = fit_score_map(torch.ones(9), outliers)
        assert map_(tensor(1.0)).item() == pytest.approx(-2.2)
        assert map_(tensor(2.0)) > map_(tensor(1.0))


def test_far_scores_stay_apart_where_a_sigmoid_is_flat() -> None:
    map_ = fit_score_map(torch.linspace(0, 1, 100), None)
    log_odds = map_(tensor([1e3, 1e4, 1e5, 1e6])).float()
    assert (log_odds.diff() > 3).all()
    assert log_odds.max() < 60


def test_probabilities_are_told_from_distances() -> None:
    assert look_like_probabilities(tensor([0.0, 0.2, 0.999]))
    assert not look_like_probabilities(tensor([0.0, 0.2, 0.5]))
    assert not look_like_probabilities(tensor([0.0, 0.2, 1.01]))
    assert not look_like_probabilities(tensor([-0.1, 0.2, 0.999]))


class TestEnding:
    def test_gives_the_users_scores(self) -> None:
        raw = tensor([-2.0, 0.3, 7])
        assert OutputActivation(low=0, high=1)(raw).tolist() == pytest.approx([0, 0.3, 1])
        assert OutputActivation(low=0)(raw).tolist() == pytest.approx([0, 0.3, 7])
        assert OutputActivation(sigmoid=True)(raw).tolist() == pytest.approx(raw.sigmoid().tolist())
        assert torch.equal(OutputActivation()(raw), raw)

    @given(st.floats(1e-6, 1 - 1e-6))
    def test_a_threshold_becomes_a_raw_one(self, own: float) -> None:
        raw = OutputActivation(sigmoid=True).inverse(own)
        assert 1 / (1 + math.exp(-raw)) == pytest.approx(own)
        assert OutputActivation(low=0, high=1).inverse(own) == own

    def test_extreme_thresholds_are_finite(self) -> None:
        assert math.isfinite(OutputActivation(sigmoid=True).inverse(0))
        assert math.isfinite(OutputActivation(sigmoid=True).inverse(1))

    def test_in_words(self) -> None:
        assert OutputActivation().description == ""
        assert OutputActivation(True, 0, None).description == "sigmoid and clip to [0, unbounded]"
