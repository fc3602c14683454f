import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ifnormal.data.sources import strokes
from ifnormal.data.sources.digits import EmbeddedDigits
from ifnormal.data.sources.letters import rendered_letters
from ifnormal.data.sources.lookalikes import LOOKALIKES, is_stroke, moments


def test_letters_look_like_mnist() -> None:
    letters = rendered_letters(400, 0).images
    digits = EmbeddedDigits().read("test").images
    assert letters.shape == (400, 1, 28, 28)
    assert letters.amax((1, 2, 3)).min() > 150
    assert letters[:, :, 0].float().mean() < 1
    assert letters.float().mean() / digits.float().mean() == pytest.approx(1, abs=0.25)
    x, y, _, _ = moments(letters.float())
    assert torch.cat([x, y]).sub(13.5).abs().max() < 2
    inked = (letters > 60)[:, 0]
    longest = torch.maximum(inked.any(1).sum(1), inked.any(2).sum(1)).float()
    assert longest.mean() == pytest.approx(20, abs=1.5)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**40), count=st.integers(0, 60))
def test_no_letter_could_pass_for_a_one(seed: int, count: int) -> None:
    letters = rendered_letters(count, seed)
    assert len(letters) == count
    assert not is_stroke(letters.images).any()
    assert not set(letters.class_names) & set(LOOKALIKES[1])


def test_most_ones_and_few_other_digits_are_strokes() -> None:
    digits = EmbeddedDigits().read("test")
    stroke, one = is_stroke(digits.images), digits.labels == 1
    assert stroke[one].float().mean() > 0.95
    assert stroke[~one].float().mean() < 0.12


def test_lines_and_discs_are_told_apart() -> None:
    images = torch.zeros(4, 1, 28, 28, dtype=torch.uint8)
    images[0, 0, 4:24, 13:15] = 255
    images[1, 0, 13:15, 4:24] = 255
    images[2, 0].fill_diagonal_(255)
    images[3, 0, 8:20, 8:20] = 255
    assert is_stroke(images).tolist() == [True, True, True, False]


def test_the_seed_and_the_purpose_decide_the_letters() -> None:
    first = rendered_letters(20, 3).images
    assert torch.equal(first, rendered_letters(20, 3).images)
    assert not torch.equal(first, rendered_letters(20, 4).images)
    assert not torch.equal(first, rendered_letters(20, 3, purpose="validation").images)


def test_another_normal_digit_has_other_lookalikes() -> None:
    names = rendered_letters(8, 0, unlike=(0,)).class_names
    assert "O" not in names
    assert "T" in names


def test_without_matplotlib_the_letters_are_drawn_with_the_font_in_pillow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    strokes._fonts.cache_clear()
    strokes.letter_fields.cache_clear()
    monkeypatch.setattr(strokes, "find_spec", lambda name: None)
    try:
        assert len(strokes.font_names()) == 1
        letters = rendered_letters(30, 0).images
    finally:
        strokes._fonts.cache_clear()
        strokes.letter_fields.cache_clear()
    assert letters.amax((1, 2, 3)).min() > 150


def test_thinning_leaves_a_line_one_pixel_wide_and_connected() -> None:
    bar = torch.zeros(1, 20, 20, dtype=torch.bool)
    bar[0, 3:17, 7:12] = True
    thin = strokes._thin(bar)[0]
    assert thin.sum(1).max() == 1
    assert thin.sum() >= 8
    rows = thin.any(1).nonzero().flatten()
    assert len(rows) == rows.max() - rows.min() + 1


def test_distances_to_a_point_are_euclidean_and_cut_off() -> None:
    point = torch.zeros(1, 40, 40, dtype=torch.bool)
    point[0, 20, 20] = True
    distance = strokes._distance(point)[0]
    assert distance[20, 20] == 0
    assert distance[23, 24] == 5
    assert distance[0, 0] == strokes.REACH
