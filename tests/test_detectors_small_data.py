"""What detectors do about few and about large images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.config import DetectorConfig
from ifnormal.detectors.builtin.augmentation import augment, is_used
from ifnormal.detectors.builtin.backbone import Backbone

STILL = DetectorConfig(turn=0, resize=0, brightness=0)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def marked(count: int = 40) -> Tensor:
    """Dark images with a bright square in the upper left."""
    images = torch.full((count, 3, 32, 32), 0.2)
    images[:, :, 8:12, 8:12] = 0.8
    return images


def centre(images: Tensor) -> Tensor:
    """(N, 2) where the bright part is, rows and columns from the middle."""
    light = (images.mean(1) - 0.2).clamp_min(0)
    place = torch.arange(32) - 15.5
    total = light.sum((1, 2))
    rows, columns = (light.sum(2) * place).sum(1), (light.sum(1) * place).sum(1)
    return torch.stack([rows / total, columns / total], 1)


def test_varied_mildly_and_each_in_its_own_way() -> None:
    images = marked()
    varied = augment(images, DetectorConfig(), rng())
    assert varied.shape == images.shape
    assert varied.min() >= 0
    assert varied.max() <= 1
    assert len({image.numpy().tobytes() for image in varied}) == len(images)
    moved = augment(images, replace(DetectorConfig(), brightness=0), rng())
    assert (centre(moved) - centre(images)).abs().max() < 4


def test_nothing_is_mirrored_or_turned_unasked() -> None:
    assert (centre(augment(marked(), STILL, rng())) < 0).all()


@pytest.mark.parametrize(
    ("flip", "places"), [("horizontal", 2), ("vertical", 2), ("both", 4), ("none", 1)]
)
def test_mirrored_as_allowed(flip: str, places: int) -> None:
    varied = augment(marked(), replace(STILL, flip=flip), rng())
    signs = {tuple(sign) for sign in (centre(varied) > 0).tolist()}
    assert len(signs) == places
    if flip == "horizontal":
        assert not any(below for below, _ in signs)


def test_turned_all_the_way_round_as_allowed() -> None:
    places = centre(augment(marked(), replace(STILL, turn=180), rng()))
    assert len({tuple(sign) for sign in (places > 0).tolist()}) == 4
    # On a circle about the middle, but for the shift.
    assert (places.norm(dim=1) - 5.5 * 2**0.5).abs().max() < 3.5


def test_oblong_images_are_not_sheared_by_turning() -> None:
    images = torch.zeros(1, 1, 16, 64)
    images[:, :, 6:10, 30:34] = 1
    turned = augment(images, replace(STILL, turn=180), rng(3))
    assert turned.sum() == pytest.approx(16, rel=0.25)


@pytest.mark.parametrize(
    ("augment", "normal", "wanted"),
    [("auto", 1999, True), ("auto", 2000, False), ("on", 9999, True), ("off", 10, False)],
)
def test_automatic_below_two_thousand_images(augment: str, normal: int, wanted: bool) -> None:
    assert is_used(DetectorConfig(augment=augment), normal) is wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"turn": 181}, {"resize": 1}, {"brightness": -0.1}])
def test_refuses_what_makes_no_sense(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        DetectorConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (96, 64), (200, 100)])
def test_large_images_end_as_the_same_features(size: tuple[int, int]) -> None:
    backbone = Backbone((1, *size), 4, 1, True)
    outputs, features = backbone(torch.rand(2, 1, *size))
    assert outputs.shape == (2, 1)
    assert features.shape == (2, 128)


def test_what_is_unusual_in_its_place_stands_out() -> None:
    """Left black, right white is normal; the same pixel values the other way round are not."""
    normal = torch.zeros(20, 1, 64, 64) + 0.02 * torch.rand(20, 1, 64, 64, generator=rng())
    normal[..., 32:] += 0.9
    torch.manual_seed(0)
    strange, used = Backbone((1, 64, 64), 8, 1, True), Backbone((1, 64, 64), 8, 1, True)
    used.load_state_dict(strange.state_dict())
    used.fit_statistics(normal)
    seen = []
    used.stages.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    used(torch.cat([normal[:1], normal[:1].flip(3)]))
    unusual = seen[0][:, 1:].abs()
    assert unusual[0].max() < 0.3
    assert unusual[1].min() > 0.9


def test_small_images_are_seen_as_before() -> None:
    backbone = Backbone((3, 32, 32), 8, 1, True)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.fit_statistics(torch.rand(4, 3, 32, 32))
    assert backbone.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
