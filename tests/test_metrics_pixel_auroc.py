"""Pixel AuROC by hand and against all pairs of pixels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, tensor

from ifnormal.benchmarks.pixel_auroc import pixel_auroc


def maps(*values: float) -> Tensor:
    return tensor(values).view(-1, 1, 2)


def test_by_hand() -> None:
    masks = maps(0, 1, 0, 0).bool()
    assert pixel_auroc(maps(1, 9, 2, 3), masks) == 100
    assert pixel_auroc(maps(5, 0, 2, 3), masks) == 0
    assert pixel_auroc(maps(1, 2, 2, 3), masks) == pytest.approx(50)  # one below, one equal
    assert pixel_auroc(maps(7, 7, 7, 7), masks) == 50


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_against_all_pairs(pixels: list[tuple[int, bool]]) -> None:
    inside = [value for value, hot in pixels if hot]
    outside = [value for value, hot in pixels if not hot]
    heat, masks = tensor([[[v for v, _ in pixels]]]).float(), tensor([[[m for _, m in pixels]]])
    if not inside or not outside:
        with pytest.raises(ValueError, match="inside and outside"):
            pixel_auroc(heat, masks)
        return
    wins = sum((a > b) + (a == b) / 2 for a in inside for b in outside)
    assert pixel_auroc(heat, masks) == pytest.approx(100 * wins / len(inside) / len(outside))


def test_large_and_unscaled_values_stay_exact() -> None:
    heat = 1e6 + torch.arange(20000.0).view(2, 100, 100)
    masks = heat >= 1e6 + 15000
    assert pixel_auroc(heat, masks) == 100
    assert pixel_auroc(-heat, masks) == 0


@pytest.mark.parametrize(
    ("heat", "masks", "words"),
    [
        (torch.rand(1, 2, 2), torch.ones(1, 2, 3, dtype=torch.bool), "one shape"),
        (torch.rand(1, 2, 2), torch.ones(1, 2, 2), "boolean"),
        (torch.full((1, 1, 2), torch.nan), tensor([[[True, False]]]), "finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(heat: Tensor, masks: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pixel_auroc(heat, masks)
