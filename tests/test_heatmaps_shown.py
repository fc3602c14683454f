"""Where a detector looks, by detectors that look where we know."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ifnormal.explainers.heatmap import heatmaps
from known_detectors import GREY, PATCH, KnownDetector, bright_patch, squares


class BlackBox(KnownDetector):
    """The same without a gradient."""

    is_black_box = True

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return super().inspect(images.detach())


@pytest.fixture
def images() -> Tensor:
    return squares(5, 0, GREY)


def test_the_heat_lies_in_the_patch_that_counts(images: Tensor) -> None:
    heat = heatmaps(bright_patch(), images)
    assert heat is not None
    assert (heat.shape, heat.dtype) == ((5, 16, 16), torch.uint8)
    inside = heat[:, PATCH[0], PATCH[1]].float()
    assert inside.sum((1, 2)).min() > 0.8 * heat.float().sum((1, 2)).max()
    assert (inside[:, 1:3, 1:3] >= 250).all()
    far = torch.ones(16, 16, dtype=torch.bool)
    far[2:10, 6:14] = False
    assert (heat[:, far] == 0).all()


def test_the_scale_of_the_scores_does_not_count(images: Tensor) -> None:
    weak, strong = (heatmaps(bright_patch(gain=gain), images) for gain in (1e-6, 1e3))
    assert weak is not None
    assert strong is not None
    assert (weak.int() - strong.int()).abs().max() <= 1


def test_a_detector_that_looks_nowhere_or_breaks_gives_no_heat(images: Tensor) -> None:
    blind, broken = KnownDetector(torch.zeros(GREY)), bright_patch()
    broken.broken = True
    for detector in (blind, broken):
        heat = heatmaps(detector, images)
        assert heat is not None
        assert not heat.any()


def test_a_black_box_is_seen_through_its_surrogate(images: Tensor) -> None:
    surrogate = bright_patch()
    box = BlackBox(surrogate.weights.flip(1))
    assert heatmaps(box, images) is None
    seen, expected = heatmaps(box, images, surrogate), heatmaps(surrogate, images)
    assert seen is not None
    assert expected is not None
    assert torch.equal(seen, expected)
    box.is_black_box = False  # it says that it has a gradient
    assert heatmaps(box, images, surrogate) is None


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 2, 70), (1, 224, 224)])
def test_any_size(shape: tuple[int, int, int]) -> None:
    heat = heatmaps(KnownDetector(torch.ones(shape)), torch.zeros(2, *shape, dtype=torch.uint8))
    assert heat is not None
    assert (heat == 255).all()  # every pixel counts alike


def test_it_works_where_gradients_are_off_and_on_no_images(images: Tensor) -> None:
    detector = bright_patch()
    with torch.inference_mode():
        inside = heatmaps(detector, images)
    outside = heatmaps(detector, images)
    assert inside is not None
    assert outside is not None
    assert torch.equal(inside, outside)
    none = heatmaps(bright_patch(), images[:0])
    assert none is not None
    assert none.shape == (0, 16, 16)
