"""Replacing regions by those of normal images: by hand, on pictures whose answer is known."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.pixels import quantize, to_float
from ifnormal.config.exemplar import ExemplarConfig
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.exemplar.donors import Donor, Donors, as_picture
from ifnormal.explainers.exemplar.editor import ExemplarEditor
from ifnormal.explainers.exemplar.regions import composed, parts, region
from ifnormal.explainers.exemplar.registration import matched, registered, robust_difference
from ifnormal.explainers.exemplar.search import (
    Family,
    Goal,
    OutOfQueriesError,
    apart_from,
    given_back,
    growth,
    replaced,
    smallest_replacement,
)
from ifnormal.explainers.fit_data import FitData

SIDE = 64


def blobs(count: int, seed: int = 0) -> Tensor:
    """(count, 3, 64, 64) uint8 smooth pictures, each with a bright rim at its left."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=rng) * 0.6 + 0.2
    images = F.interpolate(coarse, (SIDE, SIDE), mode="bicubic", align_corners=False)
    images[..., 8:12] = 0.9
    return quantize(images.clamp(0, 1))


def with_square(images: Tensor, top: int = 20, left: int = 30, side: int = 10) -> Tensor:
    """The same with a black square."""
    spoilt = images.clone()
    spoilt[..., top : top + side, left : left + side] = 0
    return spoilt


class Darkest(Detector):
    """Scores how black the darkest patch is; a good detector of squares."""

    shape = (3, SIDE, SIDE)
    threshold = 0.5
    asked = 0

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.asked += len(images)
        pooled = F.avg_pool2d(images.mean(1, keepdim=True), 4, 1)
        return 40 * (0.12 - pooled.flatten(1).amin(1)), images.mean((2, 3))


class BlackBox(Darkest):
    is_black_box = True


def fitted(detector: Detector, normal: Tensor, **options: object) -> ExemplarEditor:
    editor = ExemplarEditor(ExemplarConfig(registration="none", **options))  # type: ignore[arg-type]
    editor.fit(FitData(detector, normal, with_square(normal)), 0)
    return editor


@pytest.mark.parametrize("detector", [Darkest(), BlackBox()], ids=["gradient", "black box"])
def test_a_normal_image_with_a_square_comes_back_as_it_was(detector: Detector) -> None:
    normal = blobs(12)
    editor = fitted(detector, normal)
    edits, _ = editor.counterfactuals(
        to_float(with_square(normal[3:5])), torch.zeros(0), torch.zeros(0)
    )
    assert (detector(to_float(edits[:, 0])) <= detector.threshold).all()
    before = (with_square(normal[3:5]).int() - normal[3:5].int()).abs()
    left = (edits[:, 0].int() - normal[3:5].int()).abs()
    assert left.float().mean() < 0.05 * before.float().mean()
    far = left[..., :8, :]
    assert (far <= 1).all(), "nothing changes away from the square"


def test_two_squares_are_one_reason_and_either_alone_is_none() -> None:
    normal = blobs(12)
    image = with_square(with_square(normal[:1], 5, 40, 8), 45, 20, 8)
    editor = fitted(Darkest(), normal)
    found = editor.replacements(image[0])
    assert found[1] is found[0], "no second reason suffices"
    assert found[0].mask[9, 44] > 0.9
    assert found[0].mask[49, 24] > 0.9
    assert found[0].mask[25:35].max() < 0.1


def test_an_image_that_is_normal_stays_as_it_is() -> None:
    normal = blobs(12)
    editor = fitted(Darkest(), normal)
    typical = normal[Darkest()(to_float(normal)).argsort()[:2]]
    assert torch.equal(quantize(editor.edit(to_float(typical), 0.0, 0)), typical)


def test_a_black_box_is_never_asked_more_than_its_budget() -> None:
    detector, normal = BlackBox(), blobs(12)
    editor = fitted(detector, normal, queries=20, concepts=1)
    detector.asked = 0
    editor.replacements(with_square(normal[:1])[0])
    assert 0 < detector.asked <= 20


def test_saved_donors_edit_the_same() -> None:
    normal, detector = blobs(12), Darkest()
    editor = fitted(detector, normal)
    saved = {**editor.settings(), "seed": editor.seed}
    again = ExemplarEditor.load(saved, editor.tensors(), detector)
    images = to_float(with_square(normal[:2]))
    assert torch.equal(again.edit(images, 0.0, 0), editor.edit(images, 0.0, 0))


@given(st.integers(0, 50), st.floats(0.02, 0.5))
@settings(max_examples=20, deadline=None)
def test_regions_are_nested(seed: int, area: float) -> None:
    importance = np.random.default_rng(seed).random((32, 32)).astype(np.float32)
    small, large = region(importance, area), region(importance, min(1, 1.5 * area))
    assert (large >= small - 1e-5).all()
    assert region(importance, 1.0).min() == 1


def test_parts_are_the_connected_ones_and_sum_to_the_mask() -> None:
    mask = np.zeros((20, 20), np.float32)
    mask[1:4, 1:4], mask[10:16, 10:16], mask[18, 1] = 1, 0.8, 0.5
    found = parts(mask, 2)
    assert len(found) == 2
    assert found[0][12, 12] == np.float32(0.8)
    assert found[1][2, 2] == 1
    assert found[1][18, 1] == 0.5
    np.testing.assert_array_equal(sum(found), mask)


def test_composition_by_hand() -> None:
    mask = np.array([[0, 0.25], [0.5, 1]], np.float32)
    made = composed(np.zeros((2, 2, 1), np.float32), np.ones((2, 2, 1), np.float32), mask)
    np.testing.assert_array_equal(made[..., 0], mask)


class TestSearch:
    """A picture of 0 and a donor of 1; the score is what share of chosen pixels is still 0."""

    image = np.zeros((40, 40, 1), np.float32)
    donor = Donor(0, np.ones((40, 40, 1), np.float32), 1.0)

    def score(self, *boxes: tuple[slice, slice]) -> object:
        def log_odds(pictures: Sequence[np.ndarray]) -> np.ndarray:
            self.asked += len(pictures)
            left = [np.mean([1 - p[box].mean() for box in boxes]) for p in pictures]
            return 10 * np.array(left) - 1

        self.asked = 0
        return log_odds

    def family(self, *boxes: tuple[slice, slice]) -> Family:
        importance = np.zeros((40, 40), np.float32)
        for place, box in enumerate(boxes):
            importance[box] = 1 - 0.1 * place
        return Family(self.donor, importance, np.ones((40, 40), np.float32))

    def test_what_is_not_needed_is_given_back(self) -> None:
        a, b = np.s_[5:11, 5:11], np.s_[28:34, 28:34]
        score, family = self.score(a), self.family(a, b)
        (both,) = replaced(self.image, [(family, family.mask(0.06))], score)  # type: ignore[arg-type]
        assert both.mask[30, 30] > 0.9
        fewer = given_back(self.image, both, score, Goal(-0.9, 0.0))  # type: ignore[arg-type]
        assert fewer.mask[30, 30] == 0
        assert fewer.mask[8, 8] > 0.9
        assert fewer.log_odds <= -0.9

    def test_the_smallest_region_is_found(self) -> None:
        a, b = np.s_[5:11, 5:11], np.s_[28:34, 28:34]
        found = smallest_replacement(
            self.image,
            [self.family(b, a), self.family(a)],
            self.score(a),  # type: ignore[arg-type]
            Goal(-0.9, 0.0),
        )
        assert found is not None
        assert found.mask[30, 30] == 0
        assert found.log_odds <= -0.9
        assert (found.mask > 0.5).mean() < 0.12

    def test_another_reason_lies_elsewhere(self) -> None:
        a, b = np.s_[5:11, 5:11], np.s_[28:34, 28:34]
        family = self.family(a, b)
        (first,) = replaced(self.image, [(family, family.mask(0.02))], self.score(a))  # type: ignore[arg-type]
        (left,) = apart_from([family], [first])
        assert left.mask(0.02)[8, 8] == 0
        assert left.mask(0.02)[30, 30] > 0.9

    def test_scores_fall_as_the_region_grows(self) -> None:
        a = np.s_[5:25, 5:25]
        score, family = self.score(a), self.family(a)
        (whole,) = replaced(self.image, [(family, family.mask(0.3))], score)  # type: ignore[arg-type]
        targets = [9.0, 6.0, 3.0, 0.0, None]
        frames = growth(self.image, whole, score, targets)  # type: ignore[arg-type]
        log_odds = score(frames)  # type: ignore[operator]
        assert (np.diff(log_odds) <= 0).all()
        assert all(got <= want for got, want in zip(log_odds, targets[:-1], strict=False))
        np.testing.assert_array_equal(frames[-1], whole.picture(self.image))

    def test_a_spent_budget_ends_it_with_what_was_found(self) -> None:
        a = np.s_[5:11, 5:11]
        score, left = self.score(a), 12

        def limited(pictures: Sequence[np.ndarray]) -> np.ndarray:
            nonlocal left
            if len(pictures) > left:
                raise OutOfQueriesError
            left -= len(pictures)
            return score(pictures)  # type: ignore[operator]

        found = smallest_replacement(self.image, [self.family(a)], limited, Goal(-0.9, 0.0))
        assert found is not None
        assert self.asked <= 12


class TestRegistration:
    def scene(self) -> np.ndarray:
        picture = np.full((96, 96, 3), 0.8, np.float32)
        cv2.rectangle(picture, (20, 40), (76, 52), (0.2, 0.3, 0.3), -1)
        cv2.circle(picture, (24, 46), 12, (0.1, 0.1, 0.4), -1)
        return cv2.GaussianBlur(picture, (0, 0), 1.0)

    def moved(self, degrees: float, right: float, down: float) -> np.ndarray:
        turn = cv2.getRotationMatrix2D((47.5, 47.5), degrees, 1.0)
        turn[:, 2] += right, down
        size = (96, 96)
        return cv2.warpAffine(self.scene(), turn, size, borderMode=cv2.BORDER_REPLICATE)

    @pytest.mark.parametrize(("right", "down"), [(0.0, 0.0), (5.0, -3.0), (-8.0, 6.0)])
    def test_a_shift_is_found(self, right: float, down: float) -> None:
        target = self.moved(0, right, down)
        found = registered(self.scene(), target, "translation")
        assert robust_difference(found, target) < 0.003

    @pytest.mark.parametrize("degrees", [0.0, 37.0, 121.0, 250.0])
    def test_a_turn_is_found(self, degrees: float) -> None:
        target = quantize(torch.from_numpy(self.moved(degrees, 3, -2)).permute(2, 0, 1))
        scenes = torch.stack([quantize(torch.from_numpy(self.scene()).permute(2, 0, 1))] * 2)
        (found,) = Donors(scenes, "rotation").nearest(as_picture(target), 1)
        assert found.difference < 0.004

    def test_brightness_is_matched(self) -> None:
        darker = (self.scene() * 0.9).astype(np.float32)
        assert robust_difference(matched(darker, self.scene()), self.scene()) < 0.002

    def test_auto_takes_the_simplest_that_pays(self) -> None:
        turned = [self.moved(15 * n, 0, 0) for n in range(24)]
        still = [self.moved(0, 0, 0) + 0.02 * np.random.default_rng(n).random() for n in range(24)]
        for pictures, how in ((turned, "rotation"), (still, "none")):
            arrays = np.stack(pictures).astype(np.float32)
            images = quantize(torch.from_numpy(arrays).permute(0, 3, 1, 2).clamp(0, 1))
            assert Donors.choose(images, "auto", 100, 0).how == how
