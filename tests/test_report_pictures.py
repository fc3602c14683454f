from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ifnormal.explanation import Explanation
from ifnormal.report.gallery import make_cards
from ifnormal.report.picture import (
    BRIGHTER,
    DARKER,
    LARGEST_SIDE,
    PIXELATED_SIDE,
    RECOLOURED,
    difference,
    image_picture,
)


def pixel(*channels: int) -> Tensor:
    return torch.tensor(channels, dtype=torch.uint8).view(-1, 1, 1)


def colour_and_alpha(before: Tensor, after: Tensor) -> tuple[tuple[int, ...], int]:
    red, green, blue, alpha = difference(before, after).flatten().tolist()
    return (red, green, blue), alpha


def test_drawn_erased_and_recoloured_pixels_have_their_own_colours() -> None:
    black, yellow, cyan, white = pixel(0, 0, 0), pixel(255, 255, 0), pixel(0, 255, 255), pixel(255)
    assert colour_and_alpha(black, cyan) == (BRIGHTER, 255)
    assert colour_and_alpha(cyan, black) == (DARKER, 255)
    assert colour_and_alpha(yellow, cyan) == (RECOLOURED, 255)
    assert colour_and_alpha(pixel(0), white) == (BRIGHTER, 255)


def test_what_did_not_change_is_transparent_and_small_changes_are_faint() -> None:
    assert colour_and_alpha(pixel(9, 80, 200), pixel(9, 80, 200))[1] == 0
    assert 0 < colour_and_alpha(pixel(9, 80, 200), pixel(9, 80, 205))[1] < 40


def test_small_images_are_pixelated_and_large_ones_shrunk() -> None:
    small = image_picture(torch.zeros(3, PIXELATED_SIDE, 9, dtype=torch.uint8), "a", "b")
    assert (small.height, small.width, small.pixelated) == (PIXELATED_SIDE, 9, True)
    large = image_picture(torch.zeros(1, 600, 300, dtype=torch.uint8), "a", "b")
    assert (large.height, large.width) == (LARGEST_SIDE, LARGEST_SIDE // 2)
    assert not large.pixelated


def test_cards_stop_at_the_budget_but_one_is_always_shown(
    make_explanation: Callable[..., Explanation],
) -> None:
    explanation = make_explanation(n=5, m=0)
    every = make_cards(explanation, None, limit=9)
    assert [card.number for card in every] == [1, 2, 3, 4, 5]
    budget = every[0].weight + every[1].weight
    assert len(make_cards(explanation, None, limit=9, budget=budget)) == 2
    assert len(make_cards(explanation, None, limit=9, budget=0)) == 1


def test_a_heatmap_stands_beside_the_anomaly(make_explanation: Callable[..., Explanation]) -> None:
    (card,) = make_cards(make_explanation(n=1), None, limit=1, heatmaps=torch.rand(1, 8, 9))
    assert [picture.kind for picture in card.pictures] == ["image", "heatmap"]


def test_only_the_first_anomalies_have_traversals(tiny_explanation: Explanation) -> None:
    cards = make_cards(tiny_explanation, None, limit=3)
    assert [card.edits[0].strip is not None for card in cards] == [True, False, False]
