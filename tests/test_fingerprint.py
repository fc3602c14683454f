"""Telling one detector from another by the scores of a few pictures."""

from __future__ import annotations

import pytest

from ifnormal.detectors.fingerprint import same_scores

SCORES = [0.0, 1.0, 2.0, 0.5]


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_unit_does_not_matter(unit: float) -> None:
    before = [unit * score for score in SCORES]
    assert same_scores(before, [unit * (score + 1e-3) for score in SCORES])
    assert not same_scores(before, [unit * (score + 1e-2) for score in SCORES])


def test_small_scores_differ_as_large_ones_do() -> None:
    assert not same_scores([1e-4, 2e-4], [9e-4, 2e-4])


def test_an_offset_hides_no_difference() -> None:
    assert not same_scores([1000.0, 1001.0], [1000.9, 1001.0])


def test_infinite_scores_are_the_same_only_as_such() -> None:
    assert same_scores([1e30, 1.0, 2.0], [1e30, 1.0, 2.0])
    assert not same_scores([1e30, 1.0, 2.0], [1e30, 1.5, 2.0])
    assert not same_scores([1e30, 1.0, 2.0], [3.0, 1.0, 2.0])


def test_what_is_no_list_of_scores() -> None:
    assert not same_scores(None, SCORES)
    assert not same_scores([0.0, "1"], [0.0, 1.0])
    assert not same_scores(SCORES, SCORES[:3])
