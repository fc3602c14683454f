"""From a user's detector and images to what the generator is trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from black_boxes import BlackBox
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_pil
from ifnormal.data.synthetic import KINDS, MadeOutliers
from ifnormal.detectors.adapted.detector import AdaptedDetector, adapt
from ifnormal.detectors.detector import in_batches
from ifnormal.explainers.fit_data import FitData, as_detector, prepare_fit_data
from known_detectors import COLOR, blue, mean_color, red

pytestmark = pytest.mark.usefixtures("few_synthetic")


def redness(images: Tensor) -> Tensor:
    """100 · (mean red − mean blue), in the user's own units."""
    return 100 * (images[:, 0] - images[:, 2]).mean((1, 2))


@pytest.fixture(scope="module")
def prepared(few_synthetic: None) -> FitData:
    return prepare_fit_data(adapt(redness, shape=COLOR), blue(60), None, seed=0)


class TestPrepare:
    def test_a_detector_keeps_its_scores_and_all_images(self) -> None:
        detector, normal, outliers = mean_color(), blue(), red()
        prepared = prepare_fit_data(detector, normal, outliers, seed=0)
        assert prepared.detector is detector
        assert torch.equal(prepared.normal, normal)
        assert torch.equal(prepared.outliers, outliers)

    def test_an_adapted_one_is_checked_and_calibrated(self) -> None:
        prepared = prepare_fit_data(adapt(redness, shape=COLOR), blue(60), red(60), seed=0)
        detector = prepared.detector
        assert isinstance(detector, AdaptedDetector)
        assert detector.is_calibrated
        assert prepared.facts["contract"]["twice"] == 0
        scores = in_batches(detector, blue(60)), in_batches(detector, red(60))
        assert float(scores[0].median()) == pytest.approx(0.05, abs=0.02)
        assert float(scores[1].median()) == pytest.approx(0.95, abs=0.02)

    def test_the_threshold_is_the_false_alarm_rate_of_held_out_images(self) -> None:
        strict = prepare_fit_data(adapt(redness, shape=COLOR), blue(200), red(), 0, 0.01).detector
        loose = prepare_fit_data(adapt(redness, shape=COLOR), blue(200), red(), 0, 0.5).detector
        alarms = [
            float((in_batches(d, blue(200)) > d.threshold).float().mean()) for d in (strict, loose)
        ]
        assert alarms[0] < 0.1 < 0.3 < alarms[1] < 0.7

    def test_the_users_threshold_stays(self) -> None:
        detector = prepare_fit_data(
            adapt(redness, shape=COLOR, threshold_own=3.5), blue(60), red(), 0
        ).detector
        assert isinstance(detector, AdaptedDetector)
        assert detector.own_threshold == 3.5

    def test_synthetic_outliers_are_flagged_ones(self, prepared: FitData) -> None:
        flagged = in_batches(prepared.detector, prepared.outliers) > prepared.detector.threshold
        # Calibrated once more after they were chosen: the threshold is the same score.
        assert float(flagged.float().mean()) > 0.98
        facts = prepared.facts["synthetic_outliers"]
        assert 4 <= facts["flagged"] == len(prepared.outliers) < facts["made"]
        assert len(prepared.kinds) == len(prepared.outliers)
        assert set(prepared.kinds) <= set(KINDS)

    def test_the_same_seed_gives_the_same(self, prepared: FitData) -> None:
        again = prepare_fit_data(adapt(redness, shape=COLOR), blue(60), None, seed=0)
        assert torch.equal(again.outliers, prepared.outliers)
        assert again.detector.threshold == prepared.detector.threshold

    def test_a_detector_that_flags_nothing(self) -> None:
        blind = adapt(redness, shape=COLOR, threshold_own=1e6)
        with pytest.raises(UserError, match=r"flags 0 of \d+ synthetic outliers"):
            prepare_fit_data(blind, blue(60), None, seed=0)

    def test_too_few_normal_images(self) -> None:
        with pytest.raises(UserError, match="at least 20 normal images, these are 7"):
            prepare_fit_data(adapt(redness, shape=COLOR), blue(7), red(), seed=0)


def counted() -> tuple[list[int], Callable[[Tensor], list[float]]]:
    """How many images a black box was asked about, and the black box."""
    asked = [0]

    def scores(images: Tensor) -> list[float]:
        asked[0] += len(images)
        return redness(images).tolist()

    return asked, scores


class TestQueries:
    def test_those_of_an_adapted_black_box_are_counted(self) -> None:
        asked, scores = counted()
        prepared = prepare_fit_data(
            adapt(scores, shape=COLOR, black_box=True), blue(60), None, seed=0
        )
        assert prepared.facts["queries_before_fit"] == asked[0]
        # Contract 12 + 12 + 8, held out 12, strange ones 18, each synthetic outlier once.
        assert asked[0] == 62 + prepared.facts["synthetic_outliers"]["made"]

    def test_those_of_any_other_are_counted(self) -> None:
        black_box = BlackBox()
        prepared = prepare_fit_data(black_box, blue(60), None, seed=0)
        assert prepared.facts["queries_before_fit"] == black_box.asked > 0
        assert prepare_fit_data(black_box, blue(60), red(), seed=0).facts == {
            "queries_before_fit": 0
        }

    def test_a_black_box_is_asked_about_fewer_synthetic_outliers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def quick(normal: Tensor, count: int, seed: int) -> MadeOutliers:
            images = red(1).expand(count, -1, -1, -1)
            return MadeOutliers(images, torch.zeros(count, dtype=torch.int64), ("blob",) * count)

        monkeypatch.setattr("ifnormal.explainers.fit_data.made_outliers", quick)
        made = [
            prepare_fit_data(detector, blue(1200), None, seed=0).facts["synthetic_outliers"]["made"]
            for detector in (BlackBox(), mean_color())
        ]
        assert made == [2000, 2400]

    def test_a_detector_with_a_gradient_has_no_account(self) -> None:
        facts = prepare_fit_data(adapt(redness, shape=COLOR), blue(60), red(), seed=0).facts
        assert "queries_before_fit" not in facts


class TestAsDetector:
    def test_a_detector_is_one_already(self) -> None:
        detector = mean_color()
        assert as_detector(detector, blue()) is detector

    def test_a_function_gets_the_size_of_the_images(self) -> None:
        assert as_detector(redness, blue()).shape == COLOR

    def test_files_are_edited_at_no_more_than_the_detector_takes(self, tmp_path: Path) -> None:
        to_pil(torch.zeros(3, 64, 64, dtype=torch.uint8)).save(tmp_path / "a.png")
        small = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 1))
        assert as_detector(small, tmp_path).shape[1:] <= (64, 64)
        assert as_detector(redness, tmp_path).shape == (3, 64, 64)

    def test_what_is_no_detector(self) -> None:
        with pytest.raises(UserError, match="no adapter takes"):
            as_detector(42, blue())
