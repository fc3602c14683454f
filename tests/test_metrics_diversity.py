import pytest
import torch
from torch import Generator

from ifnormal.evaluation import distance as module
from ifnormal.evaluation.distance import diversity, perceptual_distance


def hues(images):
    """One place, its channels being the mean of each of the image's."""
    return [images.double().mean((2, 3), keepdim=True)]


def plain(*colors):
    """(1, K, 3, 2, 2) images of one colour each."""
    return torch.tensor(colors, dtype=torch.uint8)[None, :, :, None, None].expand(1, -1, 3, 2, 2)


def test_by_hand():
    red, dark_red, blue = (200, 0, 0), (50, 0, 0), (0, 0, 99)
    assert diversity(hues, plain(red, dark_red)) == 0
    assert diversity(hues, plain(red, blue)) == pytest.approx(2)
    assert diversity(hues, plain(red, dark_red, blue)) == pytest.approx((0 + 2 + 2) / 3)
    both = torch.cat([plain(red, blue), plain(red, red), plain(blue, blue)])
    assert diversity(hues, both) == pytest.approx(2 / 3)


def test_two_concepts_are_as_far_apart_as_perceptual_distance_has_it(monkeypatch):
    pixels = torch.randint(256, (7, 2, 3, 4, 4), generator=Generator().manual_seed(0))
    edits = pixels.to(torch.uint8)
    expected = perceptual_distance(hues, edits[:, 0], edits[:, 1:])[0]
    assert diversity(hues, edits) == pytest.approx(expected)
    monkeypatch.setattr(module, "_BATCH", 3)
    assert diversity(hues, edits) == pytest.approx(expected)


def test_one_concept_has_no_pairs():
    assert diversity(hues, plain((1, 2, 3))) is None


@pytest.mark.parametrize("shape", [(0, 2, 3, 4, 4), (2, 3, 4, 4)])
def test_what_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match="N > 0"):
        diversity(hues, torch.zeros(shape, dtype=torch.uint8))
