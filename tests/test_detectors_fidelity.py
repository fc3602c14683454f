"""Fidelity figures whose right answer is known by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from ifnormal.detectors.black_box.fidelity import fidelity, spearman


def test_all_figures_of_a_small_case() -> None:
    surrogate = torch.tensor([0.1, 0.2, 0.6, 0.9])
    detector = torch.tensor([0.2, 0.7, 0.4, 0.9])
    figures = fidelity(surrogate, detector, 0.5)
    assert figures["images"] == 4
    assert figures["agreement"] == 0.5  # the second and the third differ
    assert figures["fooled"] == 0.5  # the second, of the first two
    assert figures["error"] == pytest.approx((0.1 + 0.5 + 0.2 + 0.0) / 4)
    assert figures["spearman"] == pytest.approx(0.8)  # ranks 1 2 3 4 against 1 3 2 4


def test_a_perfect_surrogate() -> None:
    scores = torch.tensor([0.1, 0.4, 0.8])
    figures = fidelity(scores, scores, 0.5)
    assert figures == {"images": 3, "spearman": 1.0, "agreement": 1.0, "fooled": 0.0, "error": 0.0}


def test_at_the_threshold_is_normal_for_both() -> None:
    assert fidelity(torch.tensor([0.5]), torch.tensor([0.5]), 0.5)["fooled"] == 0.0


def test_a_surrogate_that_was_exploited() -> None:
    figures = fidelity(torch.full((10,), 0.1), torch.linspace(0.6, 0.9, 10), 0.5)
    assert (figures["fooled"], figures["agreement"], figures["spearman"]) == (1.0, 0.0, None)


def test_nobody_is_called_normal() -> None:
    assert fidelity(torch.tensor([0.9]), torch.tensor([0.9]), 0.5)["fooled"] is None


def test_no_images() -> None:
    empty = torch.zeros(0)
    assert fidelity(empty, empty, 0.5) == {
        "images": 0,
        "spearman": None,
        "agreement": None,
        "fooled": None,
        "error": None,
    }


def test_ranks_reversed() -> None:
    assert spearman(torch.tensor([1.0, 2.0, 5.0]), torch.tensor([3.0, 2.0, 0.0])) == -1


@settings(max_examples=50, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_ties_as_scipy_has_them(pairs: list[tuple[int, int]]) -> None:
    first, second = (torch.tensor(side, dtype=torch.float32) for side in zip(*pairs, strict=True))
    if len(first.unique()) == 1 or len(second.unique()) == 1:
        assert spearman(first, second) is None
    else:
        assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
