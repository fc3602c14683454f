"""Confetti is where it is said to be, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ifnormal.data.synthetic import changed_pixels
from ifnormal.data.synthetic.confetti import throw_confetti


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 32, 48)])
def test_changes_exactly_where_the_masks_say(shape: tuple[int, int, int]) -> None:
    images = torch.full((24, *shape), 0.5)
    thrown, masks = throw_confetti(images, rng())
    assert thrown.shape == images.shape
    assert masks.shape == (24, *shape[1:])
    assert masks.dtype == torch.bool
    assert thrown.min() >= 0
    assert thrown.max() <= 1
    change = (thrown - images).abs().amax(1)
    assert (change[~masks] <= 0.05).all()
    assert (change[masks] > 0.05).all()
    assert torch.equal(images, torch.full_like(images, 0.5))  # those given stay as they are


def test_small_beside_the_image_and_all_over_it() -> None:
    _, masks = throw_confetti(torch.full((300, 3, 32, 32), 0.5), rng())
    shares = masks.float().mean((1, 2))
    assert (shares > 0).float().mean() > 0.95
    assert 0.005 < shares.median() < 0.15
    everywhere = F.avg_pool2d(masks.float().mean(0, keepdim=True), 8)
    assert everywhere.min() > 0.2 * everywhere.mean()


def test_coloured_and_grey() -> None:
    thrown, masks = throw_confetti(torch.full((60, 3, 32, 32), 0.5), rng())
    change = thrown - 0.5
    inside = change.permute(0, 2, 3, 1)[masks]
    is_grey = (inside.amax(1) - inside.amin(1)) < 1e-6
    assert 0.1 < is_grey.float().mean() < 0.9


def test_the_generator_decides() -> None:
    images = torch.rand(4, 3, 16, 16)
    first, _ = throw_confetti(images, rng(1))
    again, _ = throw_confetti(images, rng(1))
    other, _ = throw_confetti(images, rng(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_places_of_what_synthetic_outliers_changed() -> None:
    normal = torch.full((2, 1, 8, 8), 100, dtype=torch.uint8)
    made = normal[[1, 0, 0]].clone()
    made[0, 0, 2:4, 3] = 140
    made[1] += 50
    places = changed_pixels(made, normal, torch.tensor([1, -1, 0]))
    assert places[0].nonzero().tolist() == [[2, 3], [3, 3]]
    assert places[1].all()
    assert not places[2].any()
