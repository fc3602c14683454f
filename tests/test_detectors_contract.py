"""The contract check: every way to break it has a sentence with numbers and a way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.contract import check_contract
from ifnormal.detectors.adapted.detector import adapt
from known_detectors import COLOR, blue, red
from users_models import Anomalib, RedNetwork, redness

IMAGES = torch.cat([blue(8), red(8)])


def failure(model: Any, images: Tensor = IMAGES, **options: Any) -> str:
    with pytest.raises(UserError) as refusal:
        check_contract(adapt(model, shape=COLOR, **options), images)
    return str(refusal.value)


class TestFailures:
    def test_random_scores(self) -> None:
        message = failure(lambda x: redness(x) + torch.rand(len(x)))
        assert "other scores at a second time" in message
        assert "dropout" in message

    def test_dropout_that_stays_on(self) -> None:
        class Stubborn(RedNetwork):
            def forward(self, images: Tensor) -> Tensor:
                return super().forward(nn.functional.dropout(images, 0.5, training=True))

        assert "at a second time, by up to 0." in failure(Stubborn())

    def test_scores_that_depend_on_the_batch(self) -> None:
        message = failure(lambda x: redness(x) - redness(x).mean())
        assert "alone and" in message
        assert "in a batch of 16" in message

    def test_batch_normalisation_out_of_sight_in_training_mode(self) -> None:
        norm = nn.BatchNorm2d(3)  # a function's own module cannot be put into evaluation mode
        message = failure(lambda x: redness(norm(x)))
        assert "batch normalisation into evaluation mode" in message

    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    def test_scores_that_are_no_numbers(self, value: float) -> None:
        message = failure(lambda x: torch.where(redness(x) > 0, value, redness(x)))
        assert "gives 8 of 16 images a score that is NaN or infinite" in message

    def test_wrong_number_of_scores(self) -> None:
        assert "returns float32 (15,) for 16 images" in failure(lambda x: redness(x)[1:])
        assert "returns float32 (16, 2) for 16 images" in failure(
            lambda x: torch.stack([redness(x), redness(x)], 1)
        )

    def test_one_score_for_all(self) -> None:
        message = failure(lambda x: (1e6 + x.mean((1, 2, 3))).sigmoid())
        assert "gives all 16 images the same score, 1;" in message

    def test_a_model_that_fails(self) -> None:
        message = failure(nn.Sequential(nn.Flatten(), nn.Linear(7, 1)))
        assert "fails on images (16, 3, 16, 16)" in message
        assert "RuntimeError" in message
        assert "\n" not in message

    @pytest.mark.parametrize(
        "model",
        [
            lambda x: redness(x.detach()),
            lambda x: [float(score) for score in redness(x)],
            torch.no_grad()(redness),
        ],
    )
    def test_no_gradient(self, model: Callable[[Tensor], Any]) -> None:
        message = failure(model)
        assert "no gradient" in message
        assert "black_box=True" in message
        check_contract(adapt(model, shape=COLOR, black_box=True), IMAGES)

    def test_a_gradient_of_zero(self) -> None:
        message = failure(lambda x: (redness(x) * 100).round() + 0 * redness(x))
        assert "gradient of zero at all 16 images" in message
        assert "post-processor" in message

    def test_a_gradient_of_zero_by_a_clip(self) -> None:
        assert "gives all 8 images the same score" in failure(Anomalib(), red(8))

    def test_a_gradient_that_is_no_number(self) -> None:
        message = failure(lambda x: redness(x) + (x * 0).sum((1, 2, 3)).sqrt())
        assert "gradient that is NaN or infinite at 16 of 16 images" in message


class TestFacts:
    def test_numbers_of_a_good_detector(self) -> None:
        detector = adapt(RedNetwork(), shape=COLOR)
        facts = check_contract(detector, IMAGES)
        assert facts["images"] == 16
        assert facts["scores"][0] < facts["scores"][1]
        assert facts["without_gradient"] == 0
        assert facts["notes"] == []
        assert detector.with_checks(contract=facts).facts["contract"] == facts

    def test_some_images_without_a_gradient_are_counted(self) -> None:
        facts = check_contract(adapt(lambda x: redness(x).clamp(min=0), shape=COLOR), IMAGES)
        assert facts["without_gradient"] == 0.5
        assert "50% of the images have a gradient of zero" in facts["notes"][0]

    def test_evaluation_mode_is_set(self) -> None:
        network = nn.Sequential(nn.Dropout(0.5), RedNetwork()).train()
        facts = check_contract(adapt(network, shape=COLOR), IMAGES)
        assert facts["twice"] == 0
        assert not network.training

    def test_a_black_box_needs_no_gradient(self) -> None:
        facts = check_contract(adapt(redness, shape=COLOR, black_box=True), IMAGES)
        assert "without_gradient" not in facts
