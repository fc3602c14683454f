from __future__ import annotations

from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from explanation_folders import random_explanation, write_explanation
from ifnormal.common.errors import UserError
from ifnormal.report.colour_change import BRIGHTER, DARKER, RECOLOURED, difference
from ifnormal.report.concept_cards import make_concept_cards
from ifnormal.report.concept_effects import Effect, mean_edge, measure_effects
from ifnormal.report.listing import read_listing
from ifnormal.report.picture import (
    LARGEST_SIDE,
    PIXELATED_SIDE,
    frames_of,
    image_uri,
    make_picture,
    strip_uri,
)
from ifnormal.report.printed_cards import make_cards

Colour = tuple[int, ...]

BLACK, YELLOW, CYAN, WHITE = (0, 0, 0), (255, 255, 0), (0, 255, 255), (255, 255, 255)


def plain(colour: Colour, height: int = 1, width: int = 1) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def decoded(uri: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(b64decode(uri.partition(",")[2]))).convert("RGB"))


def colour_and_alpha(before: Colour, after: Colour) -> tuple[Colour, int]:
    red, green, blue, alpha = difference(plain(before), plain(after)).flatten().tolist()
    return (red, green, blue), alpha


def test_drawn_erased_and_recoloured_pixels_have_their_own_colours() -> None:
    assert colour_and_alpha(BLACK, CYAN) == (BRIGHTER, 255)
    assert colour_and_alpha(CYAN, BLACK) == (DARKER, 255)
    assert colour_and_alpha(YELLOW, CYAN) == (RECOLOURED, 255)
    assert colour_and_alpha(BLACK, WHITE) == (BRIGHTER, 255)


def test_what_did_not_change_is_transparent_and_small_changes_are_faint() -> None:
    assert colour_and_alpha((9, 80, 200), (9, 80, 200))[1] == 0
    assert 0 < colour_and_alpha((9, 80, 200), (9, 80, 205))[1] < 40


def test_small_images_are_pixelated_and_large_ones_shrunk() -> None:
    small = make_picture("image", "a", "b", plain(BLACK, PIXELATED_SIDE, 9))
    assert (small.height, small.width, small.pixelated) == (PIXELATED_SIDE, 9, True)
    large = make_picture("image", "a", "b", plain(BLACK, 600, 300))
    assert (large.height, large.width) == (LARGEST_SIDE, LARGEST_SIDE // 2)
    assert not large.pixelated
    assert decoded(large.src).shape == (LARGEST_SIDE, LARGEST_SIDE // 2, 3)


def test_small_images_and_strips_keep_every_pixel() -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (5, 12, 9, 3), dtype=np.uint8))
    assert np.array_equal(decoded(image_uri(frames[0])), frames[0])
    strip = decoded(strip_uri(frames))
    assert all(map(np.array_equal, frames_of(strip, 5), frames))


def test_a_strip_too_wide_for_one_format_is_written_in_another() -> None:
    assert strip_uri([plain(WHITE, 4, 40)] * 500).startswith("data:image/png;")


def test_a_strip_of_other_frames_is_refused() -> None:
    with pytest.raises(UserError, match="are no 4 frames"):
        frames_of(plain(WHITE, 4, 10), 4)


def test_cards_stop_at_the_budget_but_one_is_always_shown(tmp_path: Path) -> None:
    listing = read_listing(random_explanation(tmp_path, n=5, frames=0))
    every = make_cards(listing, listing.explained, limit=9)
    assert [card.number for card in every] == [1, 2, 3, 4, 5]
    budget = every[0].weight + every[1].weight
    assert len(make_cards(listing, listing.explained, limit=9, budget=budget)) == 2
    assert len(make_cards(listing, listing.explained, limit=9, budget=0)) == 1


def test_only_images_with_a_traversal_have_a_strip(tmp_path: Path) -> None:
    listing = read_listing(random_explanation(tmp_path, ways=1))
    cards = make_cards(listing, listing.explained, limit=3)
    assert [card.edits[0].strip is not None for card in cards] == [True, False, False]


def square(colour: Colour, side: int) -> NDArray[np.uint8]:
    """A square in the corner of a black image of 10 by 10."""
    image = plain(BLACK, 10, 10)
    image[:side, :side] = colour
    return image


@pytest.fixture
def effects(tmp_path: Path) -> list[Effect]:
    """Concept A turns a yellow square cyan, concept B erases all of it but a line."""
    before = np.stack([square(YELLOW, 5)] * 4)
    edits = np.stack([np.stack([square(CYAN, 5), square(YELLOW, 1)])] * 4)
    scores = [[0.1, 0.1], [0.1, 0.9], [0.1, 0.9], [0.1, 0.9]]
    return measure_effects(
        read_listing(write_explanation(tmp_path, before, edits, [0.9] * 4, scores))
    )


def test_what_a_concept_does_is_measured(effects: list[Effect]) -> None:
    recolours, erases = effects
    assert (recolours.measured, recolours.valid, erases.valid) == (4, 1.0, 0.25)
    assert recolours.area == pytest.approx((0.25, 0.25, 0.25))
    assert erases.area == pytest.approx((0.24, 0.24, 0.24))
    assert recolours.kinds == (0, 0, 1)
    assert erases.kinds == (0, 1, 0)
    before, after = recolours.hue
    assert (before.degrees, after.degrees) == (pytest.approx(60), pytest.approx(180))
    assert (before.unity, before.colour) == (pytest.approx(1), pytest.approx(1))
    assert recolours.brightness == pytest.approx((1, 1))
    assert erases.brightness == pytest.approx((1, 0))
    assert recolours.edges[0] == pytest.approx(recolours.edges[1])
    assert erases.edges[1] < erases.edges[0]
    change, _ = recolours.mean_change
    assert change[:5, :5].min() == change.max() == 1
    assert change.sum() == pytest.approx(25)


def test_typical_pairs_are_accepted_ones_before_others(effects: list[Effect]) -> None:
    assert [edit.valid for _, edit in effects[1].typical] == [True, False, False, False]


def test_opposite_hues_have_no_mean(tmp_path: Path) -> None:
    before = np.stack([square(YELLOW, 5), square((0, 0, 255), 5)])
    edits = np.stack([square(CYAN, 5)[None]] * 2)
    listing = read_listing(write_explanation(tmp_path, before, edits, [0.9] * 2, [[0.1]] * 2))
    effects = measure_effects(listing)
    assert effects[0].hue[0].unity == pytest.approx(0, abs=1e-6)
    (card,) = make_concept_cards(listing, effects)
    figures = {title: (value, remark) for title, value, remark in card.figures}
    assert figures["Hue"] == ("mixed → cyan", "after 180°")
    assert card.summary == "Mostly recolours to cyan, in 25 % of the image."


def test_an_edge_is_as_strong_as_its_step() -> None:
    half = plain(BLACK, 4, 5)
    half[:, 2:] = 255
    assert mean_edge(half) == pytest.approx(1 / 4)
    assert mean_edge(plain(WHITE, 4, 5)) == 0
    assert mean_edge(plain(WHITE, 1, 5)) == 0


def test_figures_are_of_a_sample_taken_evenly(tmp_path: Path) -> None:
    folder = random_explanation(tmp_path, n=9)
    listing = read_listing(folder, measured=3)
    assert [entry.number for entry in listing.sample] == [1, 5, 9]
    assert {effect.measured for effect in measure_effects(listing)} == {3}
