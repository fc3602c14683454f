"""Thrift reverts what was not needed, whole regions of it, and never makes a valid one invalid."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.config import ThriftConfig
from ifnormal.detectors.detector import in_batches
from ifnormal.explainers.thrift import connected, region_masks, revert, thrift
from known_detectors import COLOR, GREY, PATCH, KnownDetector, bright_patch, mean_color

CORNER = (slice(11, 15), slice(1, 5))


def idle(images: Tensor, concepts: Tensor) -> Tensor:
    """Leaves every image alone, and so holds no edit to be needed."""
    return images


def bright(count: int = 2) -> Tensor:
    return torch.randint(180, 256, (count, *GREY), dtype=torch.uint8)


def two_edits(anomalies: Tensor) -> Tensor:
    """(N, 1, C, H, W): the patch that counts made dark, and a corner, too, that does not."""
    edits = anomalies.clone()
    edits[:, :, PATCH[0], PATCH[1]] = 20
    edits[:, :, CORNER[0], CORNER[1]] = 10
    return edits[:, None]


def test_exactly_the_needless_region_is_reverted() -> None:
    anomalies = bright()
    edits = two_edits(anomalies)
    result = thrift(idle, bright_patch(), anomalies, edits)
    expected = anomalies.clone()
    expected[:, :, PATCH[0], PATCH[1]] = 20
    assert torch.equal(result.images[:, 0], expected)
    assert result.changed.all()
    assert torch.equal(result.scores[:, 0], in_batches(bright_patch(), expected))


def test_the_input_stays_as_it_was() -> None:
    anomalies = bright()
    edits = two_edits(anomalies)
    copy = edits.clone()
    thrift(idle, bright_patch(), anomalies, edits)
    assert torch.equal(edits, copy)


def test_invalid_counterfactuals_are_left_alone() -> None:
    anomalies = bright()
    edits = two_edits(anomalies)
    edits[1, :, :, PATCH[0], PATCH[1]] = 200
    result = thrift(idle, bright_patch(), anomalies, edits)
    assert result.changed[:, 0].tolist() == [True, False]
    assert torch.equal(result.images[1], edits[1])


def test_an_edit_that_the_generator_would_make_again_stays() -> None:
    def insists(images: Tensor, concepts: Tensor) -> Tensor:
        """Makes the corner dark, whatever it is shown."""
        edited = images.clone()
        edited[:, :, CORNER[0], CORNER[1]] = 10 / 255
        return edited

    anomalies = bright()
    edits = two_edits(anomalies)
    result = thrift(insists, bright_patch(), anomalies, edits)
    assert torch.equal(result.images, edits)
    assert not result.changed.any()
    anyway = thrift(insists, bright_patch(), anomalies, edits, ThriftConfig(again=1.1))
    assert anyway.changed.all()


def test_spend_bounds_the_score() -> None:
    """Two patches count, one much and one little: reverting the second costs a known share."""
    weights = torch.zeros(GREY)
    weights[:, PATCH[0], PATCH[1]] = 7 / 16
    weights[:, CORNER[0], CORNER[1]] = 1 / 16
    detector = KnownDetector(weights, offset=4.0)
    anomalies = torch.full((1, *GREY), 255, dtype=torch.uint8)
    edits = anomalies.clone()
    edits[:, :, PATCH[0], PATCH[1]] = 0
    edits[:, :, CORNER[0], CORNER[1]] = 0
    # Log-odds −4; the corner is worth 1, so reverting it spends a quarter of the way to 0.
    for spend, reverted in ((0.2, False), (0.3, True), (1.0, True)):
        result = thrift(idle, detector, anomalies, edits[:, None], ThriftConfig(spend=spend))
        assert bool(result.changed.all()) is reverted
    expected = torch.sigmoid(torch.tensor(-3.0))
    assert torch.allclose(result.scores, expected)


def test_the_cheapest_regions_go_first() -> None:
    """Only one of two regions can be afforded: it is the one that costs less a pixel."""
    weights = torch.zeros(GREY)
    weights[:, PATCH[0], PATCH[1]] = 2 / 16
    weights[:, CORNER[0], CORNER[1]] = 1 / 16
    detector = KnownDetector(weights, offset=2.5)
    anomalies = torch.full((1, *GREY), 255, dtype=torch.uint8)
    edits = anomalies.clone()
    edits[:, :, PATCH[0], PATCH[1]] = 0
    edits[:, :, CORNER[0], CORNER[1]] = 0
    # Log-odds −2.5, of which 2.5 may be spent: the corner (1) and then no longer the patch (2).
    result = thrift(idle, detector, anomalies, edits[:, None], ThriftConfig(spend=1.0))
    assert (result.images[0, 0, :, CORNER[0], CORNER[1]] == 255).all()
    assert (result.images[0, 0, :, PATCH[0], PATCH[1]] == 0).all()


def test_faint_haze_goes_all_at_once() -> None:
    anomalies = bright()
    edits = (anomalies.int() - 9).to(torch.uint8)
    edits[:, :, PATCH[0], PATCH[1]] = 20
    result = thrift(idle, bright_patch(), anomalies, edits[:, None])
    away = torch.ones(GREY, dtype=torch.bool)
    away[:, PATCH[0].start - 2 : PATCH[0].stop + 2, PATCH[1].start - 2 : PATCH[1].stop + 2] = False
    assert torch.equal(result.images[:, 0][:, away], anomalies[:, away])


def test_tints_of_one_place_are_reverted_whole() -> None:
    """A recoloured square of two shades is one region: red to blue, whatever the brightness."""
    before = torch.zeros(1, *COLOR, dtype=torch.uint8)
    after = before.clone()
    before[0, 0, 4:10, 4:7], before[0, 0, 4:10, 7:10] = 250, 150
    after[0, 2, 4:10, 4:7], after[0, 2, 4:10, 7:10] = 250, 150
    masks = region_masks(before, after, ThriftConfig())
    assert (masks[0, 1, 4:10, 4:10] == 1).all()
    assert (masks[0, 2:] == 0).all()


def test_erased_and_drawn_places_are_regions_of_their_own() -> None:
    before = torch.zeros(1, *GREY, dtype=torch.uint8)
    after = before.clone()
    before[0, 0, 2:6, 2:6] = 200
    after[0, 0, 6:14, 2:6] = 200
    masks = region_masks(before, after, ThriftConfig())[0]
    # The larger one, drawn, comes first; they touch, so that the border between them is soft.
    assert (masks[1, 8:13, 3:5] == 1).all()
    assert (masks[2, 3:5, 3:5] == 1).all()
    assert (masks[1:3, 5:7, 3:5] > 0).all()


def test_specks_beyond_the_number_of_regions_go_with_the_faint() -> None:
    before = torch.zeros(1, *GREY, dtype=torch.uint8)
    after = before.clone()
    after[0, 0, 2:6, 2:6] = 200
    after[0, 0, 12, 12] = 200
    masks = region_masks(before, after, ThriftConfig(regions=1))
    assert masks.shape[1] == 2
    assert masks[0, 0, 12, 12] == 1


def test_connected_by_hand() -> None:
    kinds = torch.tensor(
        [[[1, 1, 0, 2], [0, 0, 1, 0], [2, 0, 0, 3], [2, 2, 0, 3]]], dtype=torch.long
    )
    labels = connected(kinds)[0]
    assert (labels > 0).tolist() == (kinds[0] > 0).tolist()
    assert labels[0, 0] == labels[0, 1] == labels[1, 2]  # by the corner
    assert labels[2, 0] == labels[3, 0] == labels[3, 1] != labels[0, 3]
    assert labels[2, 3] == labels[3, 3]
    assert len(labels[labels > 0].unique()) == 4


def test_connected_follows_a_spiral() -> None:
    kinds = torch.zeros(1, 33, 33, dtype=torch.long)
    for ring in range(0, 16, 2):
        kinds[0, ring, max(0, ring - 1) : 33 - ring] = 1
        kinds[0, ring : 33 - ring, 32 - ring] = 1
        kinds[0, 32 - ring, ring : 33 - ring] = 1
        kinds[0, ring + 2 : 33 - ring, ring] = 1
    assert len(connected(kinds)[kinds > 0].unique()) == 1


def test_queries_are_counted_and_bounded() -> None:
    asked = 0

    class Counting(KnownDetector):
        def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal asked
            asked += len(images)
            return super().inspect(images)

    detector = Counting(bright_patch().weights, offset=bright_patch().offset)
    anomalies = bright(3)
    result = thrift(idle, detector, anomalies, two_edits(anomalies))
    # One each at first; three regions each (faint has nothing); the corner reverted; the outcome.
    assert result.queries == asked == 3 * (1 + 2 + 1 + 1)
    assert asked <= 3 * (2 + 2 * (ThriftConfig().regions + 1))


def test_a_black_box_will_do() -> None:
    class BlackBox(KnownDetector):
        is_black_box = True

        def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
            assert not images.requires_grad
            return super().inspect(images)

    anomalies = bright()
    box = BlackBox(bright_patch().weights, offset=bright_patch().offset)
    assert thrift(idle, box, anomalies, two_edits(anomalies)).changed.all()


@pytest.mark.parametrize(("count", "concepts"), [(0, 2), (3, 0)])
def test_nothing_to_spare(count: int, concepts: int) -> None:
    anomalies = torch.zeros(count, *GREY, dtype=torch.uint8)
    nothing = torch.zeros(count, concepts, *GREY, dtype=torch.uint8)
    result = thrift(idle, bright_patch(), anomalies, nothing)
    assert result.images.shape == nothing.shape
    assert result.changed.shape == result.scores.shape == (count, concepts)
    assert result.queries == 0


def test_no_edit_at_all_asks_once() -> None:
    dark = torch.zeros(2, *GREY, dtype=torch.uint8)
    result = thrift(idle, bright_patch(), dark, dark[:, None])
    assert result.queries == 2
    assert not result.changed.any()


def test_images_that_do_not_fit_together_are_refused() -> None:
    anomalies = bright()
    with pytest.raises(ValueError, match="anomalies"):
        thrift(idle, bright_patch(), anomalies, anomalies[:, None, :, :8])


@pytest.mark.parametrize(
    "options", [{"spend": 1.5}, {"again": -0.1}, {"regions": 0}, {"faint": 255}]
)
def test_senseless_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        ThriftConfig(**options)  # type: ignore[arg-type]


@given(
    seed=st.integers(0, 2**31),
    spend=st.sampled_from([0.0, 0.3, 1.0]),
    regions=st.integers(1, 5),
    faint=st.sampled_from([0, 16, 80]),
    smooth=st.booleans(),
)
def test_never_invalid_and_always_between(
    seed: int, spend: float, regions: int, faint: int, smooth: bool
) -> None:
    rng = torch.Generator().manual_seed(seed)
    detector = mean_color((3, 8, 8))
    small = torch.rand(3, 3, 3, 8, 8, generator=rng)
    if smooth:
        small[..., 1:] = small[..., :1]
    images = (255 * small).to(torch.uint8)
    anomalies, edits = images[:, 0], images[:, 1:]
    before = in_batches(detector, edits.flatten(0, 1)).view(3, 2)
    config = ThriftConfig(spend=spend, regions=regions, faint=faint)
    result = thrift(idle, detector, anomalies, edits, config)
    after = in_batches(detector, result.images.flatten(0, 1)).view(3, 2)
    valid = before <= detector.threshold
    assert (after <= detector.threshold)[valid].all()
    assert torch.equal(result.images[~valid], edits[~valid])
    assert not result.changed[~valid].any()
    assert torch.equal(result.changed, (result.images != edits).flatten(2).any(2))
    pair = torch.stack([anomalies[:, None].expand_as(edits), edits])
    assert (result.images >= pair.amin(0)).all()
    assert (result.images <= pair.amax(0)).all()


@given(seed=st.integers(0, 2**31))
def test_masks_share_out_every_pixel_and_revert_keeps_the_range(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    before, after = (
        torch.randint(0, 256, (2, 3, 8, 8), generator=rng).to(torch.uint8) for _ in range(2)
    )
    masks = region_masks(before, after, ThriftConfig(regions=4, faint=60))
    assert torch.allclose(masks.sum(1), torch.ones(2, 8, 8))
    assert torch.equal(revert(before, after, masks.sum(1).round()), before)
    assert torch.equal(revert(before, after, torch.zeros(2, 8, 8)), after)
    half = revert(before, after, masks[:, 1])
    assert (half >= torch.minimum(before, after)).all()
    assert (half <= torch.maximum(before, after)).all()
