"""Preprocessing: what Pillow does, by hand, and differentiable throughout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ifnormal.common.errors import UserError
from ifnormal.config import Preprocessing, preprocessing_config
from ifnormal.detectors.adapted.preprocessing import output_size, preprocess


def test_nothing_is_done_by_default() -> None:
    images = torch.rand(2, 3, 8, 9)
    assert torch.equal(preprocess(images, Preprocessing()), images)


@pytest.mark.parametrize("size", [(12, 20), (33, 47), (64, 64), (5, 90)])
def test_resizes_as_pillow_does(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    pillow = Image.fromarray(array).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    ours = preprocess(
        torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255, Preprocessing(size=size)
    )
    theirs = torch.from_numpy(np.asarray(pillow).copy()).permute(2, 0, 1)[None].float() / 255
    assert (ours - theirs).abs().max() < 1.5 / 255  # Pillow rounds to 8 bit after each axis


def test_grey_is_that_of_pillow() -> None:
    array = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    ours = preprocess(
        torch.from_numpy(array).permute(2, 0, 1)[None].float() / 255, Preprocessing(channels=1)
    )
    theirs = torch.from_numpy(np.asarray(Image.fromarray(array).convert("L")).copy()).float() / 255
    assert ours.shape == (1, 1, 8, 8)
    assert (ours[0, 0] - theirs).abs().max() < 1 / 255


def test_grey_is_repeated_for_a_model_of_colours() -> None:
    images = torch.rand(2, 1, 4, 4)
    assert torch.equal(preprocess(images, Preprocessing(channels=3)), images.repeat(1, 3, 1, 1))


def test_blue_first() -> None:
    images = torch.rand(2, 3, 4, 4)
    assert torch.equal(preprocess(images, Preprocessing(bgr=True)), images[:, [2, 1, 0]])


def test_range_mean_and_deviation_by_hand() -> None:
    white = torch.ones(1, 3, 2, 2)
    steps = Preprocessing(low=0, high=255, mean=(5, 15, 25), std=(10, 20, 40))
    assert preprocess(white, steps)[0, :, 0, 0].tolist() == pytest.approx([25, 12, 5.75])
    assert preprocess(0 * white, Preprocessing(low=-1, high=1)).unique().tolist() == [-1]
    one = Preprocessing(mean=(0.5,), std=(0.25,))
    assert preprocess(white, one).unique().tolist() == [2]


def test_the_crop_is_the_centre() -> None:
    image = torch.arange(36.0).view(1, 1, 6, 6)
    cropped = preprocess(image, Preprocessing(crop=(2, 4)))
    assert cropped[0, 0].tolist() == [[13, 14, 15, 16], [19, 20, 21, 22]]
    whole = preprocess(image, Preprocessing(size=(12, 12), crop=(4, 4)))
    assert whole.shape == (1, 1, 4, 4)


@given(
    st.sampled_from([None, 1, 3]),
    st.sampled_from([None, (4, 4), (16, 12)]),
    st.sampled_from([None, (4, 4), (3, 2)]),
    st.sampled_from([1, 3]),
)
def test_size_is_told_beforehand_and_every_image_has_a_gradient(
    channels: int | None, size: tuple[int, int] | None, crop: tuple[int, int] | None, given_: int
) -> None:
    steps = Preprocessing(channels=channels, size=size, crop=crop, high=255)  # type: ignore[arg-type]
    images = torch.rand(2, given_, 8, 8, requires_grad=True)
    out = preprocess(images, steps)
    assert tuple(out.shape[1:]) == output_size((given_, 8, 8), steps)
    (slope,) = torch.autograd.grad(out.sum(), images)
    assert (slope.flatten(1).norm(dim=1) > 0).all()


def test_is_the_same_from_json() -> None:
    steps = Preprocessing(channels=3, size=(8, 9), mean=(0.1, 0.2, 0.3), std=(1.0,), bgr=True)
    saved = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(steps).items()}
    assert preprocessing_config(saved) == steps


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"channels": 2}, "1 or 3"),
        ({"size": (0, 4)}, "at least 1"),
        ({"crop": (4,)}, "height and a width"),
        ({"low": 1.0, "high": 0.0}, "low must be less"),
        ({"mean": (1.0, 2.0)}, "1 or 3 finite"),
        ({"mean": (float("nan"),)}, "1 or 3 finite"),
        ({"std": (0.0,)}, "positive"),
    ],
)
def test_refuses_what_makes_no_sense(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Preprocessing(**options)  # type: ignore[arg-type]


def test_refuses_what_does_not_fit_the_images() -> None:
    with pytest.raises(UserError, match="crop of 9x4 does not fit"):
        preprocess(torch.rand(1, 3, 8, 8), Preprocessing(crop=(9, 4)))
    with pytest.raises(UserError, match="mean has 3 numbers"):
        preprocess(torch.rand(1, 1, 8, 8), Preprocessing(mean=(1, 2, 3)))
    with pytest.raises(UserError, match="4 channels"):
        preprocess(torch.rand(1, 4, 8, 8), Preprocessing(channels=3))
