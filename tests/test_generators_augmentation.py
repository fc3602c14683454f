"""Augmentation of what the discriminator sees."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ifnormal.training.networks import augmentation
from ifnormal.training.networks.augmentation import augment, is_wanted


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def squares(count: int, channels: int = 3, size: int = 16) -> Tensor:
    images = torch.full((count, channels, size, size), 0.2)
    images[:, 0, 5:9, 5:9] = 0.8
    return images


@pytest.mark.parametrize("channels", [1, 3])
def test_same_shape_and_each_image_in_its_own_way(channels: int) -> None:
    images = squares(6, channels)
    varied = augment(images, rng())
    assert varied.shape == images.shape
    apart = (varied[:, None] - varied[None]).abs().flatten(2).amax(2)
    assert (apart + torch.eye(6) > 0.01).all()


def test_the_generator_decides() -> None:
    images = squares(4)
    assert torch.equal(augment(images, rng(1)), augment(images, rng(1)))
    assert not torch.equal(augment(images, rng(1)), augment(images, rng(2)))


def test_gradient_reaches_the_images() -> None:
    images = squares(8).requires_grad_()
    augment(images, rng()).sum().backward()
    assert images.grad is not None
    share = (images.grad != 0).float().mean((1, 2, 3))
    assert (share > 0.5).all()  # all but what was cut out or moved out of sight


def test_a_shift_moves_and_does_not_bend() -> None:
    marked = torch.zeros(50, 1, 16, 16)
    marked[:, 0, 8, 6] = 1.0
    moved = augmentation._shift(marked, rng())
    assert (moved.sum((1, 2, 3)) == 1).all()
    places = moved.flatten(1).argmax(1)
    rows, columns = places // 16, places % 16
    assert set(rows.tolist()) == set(range(6, 11))
    assert set(columns.tolist()) == set(range(4, 9))


def test_a_box_of_a_quarter_of_the_sides_is_cut_out() -> None:
    cut = augmentation._cut_out(torch.ones(20, 3, 16, 16), rng())
    assert ((cut == 0).flatten(1).sum(1) == 3 * 4 * 4).all()


def test_grey_images_stay_grey() -> None:
    grey = torch.rand(5, 1, 8, 8, generator=rng()).repeat(1, 3, 1, 1)
    varied = augment(grey, rng())
    torch.testing.assert_close(varied[:, 0], varied[:, 1])
    torch.testing.assert_close(varied[:, 0], varied[:, 2])


@pytest.mark.parametrize(
    ("choice", "normal", "wanted"),
    [
        ("auto", 1999, True),
        ("auto", 2000, False),
        ("on", 9999, True),
        ("off", 10, False),
    ],
)
def test_automatic_below_two_thousand_images(choice: str, normal: int, wanted: bool) -> None:
    assert is_wanted(choice, normal) is wanted  # type: ignore[arg-type]
