"""Synthetic outliers: anomalies made out of normal images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.data.synthetic import KINDS, made_outliers, synthetic_outliers
from ifnormal.data.synthetic.colours import hue_turned
from ifnormal.data.synthetic.geometry import turned

LOCAL = tuple(name for name, kind in KINDS.items() if not kind.whole and name != "grain")


def discs(count: int, channels: int, size: int) -> Tensor:
    """Bright discs on a dark ground, each a little elsewhere: things with structure."""
    rng = torch.Generator().manual_seed(0)
    centre = size / 2 + torch.rand(count, 2, 1, 1, generator=rng)
    y, x = torch.arange(size)[None, :, None], torch.arange(size)[None, None, :]
    distance = ((y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2).sqrt()
    image = 40 + 160 * (distance < size / 3) - 60 * (distance < size / 6)
    return image[:, None].repeat(1, channels, 1, 1).to(torch.uint8)


def changed(normal: Tensor, outliers: Tensor) -> Tensor:
    """(M,) the share of pixels in which an outlier visibly differs from its nearest normal."""
    apart = (outliers[:, None].int() - normal[None].int()).abs().amax(2) > 25
    return apart.float().mean((2, 3)).amin(1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(4, 4), (5, 12), (28, 28), (64, 32)])
def test_any_size_and_both_channel_counts(channels: int, size: tuple[int, int]) -> None:
    normal = torch.randint(0, 256, (3, channels, *size), dtype=torch.uint8)
    outliers = synthetic_outliers(normal, 25, 0)
    assert outliers.shape == (25, channels, *size)
    assert outliers.dtype == torch.uint8


@pytest.mark.parametrize("kind", KINDS)
def test_no_outlier_is_a_normal_image(kind: str) -> None:
    normal = discs(6, 3, 32)
    outliers = synthetic_outliers(normal, 12, 0, (kind,))
    assert (changed(normal, outliers) > 0).all()


@pytest.mark.parametrize("kind", LOCAL)
def test_most_kinds_keep_most_of_the_image(kind: str) -> None:
    normal = discs(6, 3, 64)
    assert changed(normal, synthetic_outliers(normal, 12, 0, (kind,))).median() < 0.2


@pytest.mark.parametrize("value", [0, 128, 255])
def test_even_an_empty_image_is_visibly_spoilt(value: int) -> None:
    normal = torch.full((1, 1, 8, 8), value, dtype=torch.uint8)
    outliers = synthetic_outliers(normal, 30, 0, ("swap", "turn", "warp"))
    assert (outliers != value).flatten(1).any(1).all()


def test_the_seed_decides() -> None:
    normal = discs(4, 3, 16)
    few, many = synthetic_outliers(normal, 10, 3), synthetic_outliers(normal, 15, 3)
    assert torch.equal(few, many[:10])
    assert not torch.equal(few, synthetic_outliers(normal, 10, 4))


def test_what_the_normal_images_do_themselves_is_no_outlier() -> None:
    """Bars at every angle are normal: turning one makes another normal bar, not an outlier."""
    bar = torch.zeros(1, 32, 32)
    bar[:, 14:18, 4:28] = 1
    bars = torch.stack([turned(bar, angle) for angle in range(0, 180, 5)])
    dots = torch.stack([turned(bar, 2.0 * i, 0.5) for i in range(3)])
    at_all_angles = (bars * 255).to(torch.uint8)
    nearly_level = (dots * 255).to(torch.uint8)

    def turned_only(normal: Tensor) -> float:
        """How far outliers of the kind `turn` are from the normal images, over a bar's area."""
        spoilt = synthetic_outliers(normal, 20, 0, ("turn",))
        gap = (spoilt[:, None].float() - normal[None].float()).abs().sum((2, 3, 4)).amin(1)
        return float(gap.median() / normal.float().sum((1, 2, 3)).mean())

    assert turned_only(nearly_level) > 0.5
    rotated = torch.stack([turned(bar, angle) for angle in (17, 63, 128)])
    before = synthetic_outliers(at_all_angles, 40, 0, ("turn",))
    same = (before[:, None].float() - (rotated * 255)[None]).abs().mean((2, 3, 4)).amin(1)
    assert (same > 2).all()


def test_colours_are_turned_about_grey() -> None:
    red = torch.tensor([1.0, 0, 0]).view(3, 1, 1)
    third = 2 * torch.pi / 3
    torch.testing.assert_close(hue_turned(red, third).flatten(), torch.tensor([0.0, 1, 0]))
    grey = torch.full((3, 2, 2), 0.4)
    torch.testing.assert_close(hue_turned(grey, 1.0), grey)


def test_a_quarter_turn() -> None:
    image = torch.arange(16.0).view(1, 4, 4)
    quarter = turned(image, 90)
    assert torch.allclose(quarter, image.rot90(1, (1, 2)), atol=1e-4) or torch.allclose(
        quarter, image.rot90(-1, (1, 2)), atol=1e-4
    )


@pytest.mark.parametrize(
    ("shape", "kinds", "words"),
    [
        ((0, 3, 8, 8), ("scar",), "at least one normal image"),
        ((2, 3, 3, 8), ("scar",), "4x4"),
        ((2, 3, 8, 8), ("scratch",), "'scratch'"),
        ((2, 3, 8, 8), (), "No kind"),
    ],
)
def test_refuses(shape: tuple[int, ...], kinds: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        synthetic_outliers(torch.zeros(shape, dtype=torch.uint8), 3, 0, kinds)


def test_pairs_name_what_each_was_made_of() -> None:
    normal = torch.randint(0, 256, (6, 3, 24, 24), dtype=torch.uint8)
    made = made_outliers(normal, 40, 0, (*LOCAL, "turn"))
    outliers, sources = made.images, made.sources
    assert torch.equal(outliers, synthetic_outliers(normal, 40, 0, (*LOCAL, "turn")))
    known = sources >= 0
    assert known.sum() > 20
    same = (outliers[known] == normal[sources[known]]).all(1).float().mean((1, 2))
    assert same.median() > 0.8  # all but what was spoilt is as it was
    assert (made_outliers(normal, 10, 0, ("recolour",)).sources == -1).any()
