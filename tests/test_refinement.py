"""Refinement makes counterfactuals valid by way of the generator, and touches nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.config import GeneratorConfig, RefineConfig
from ifnormal.detectors.detector import in_batches
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.refine import refine
from ifnormal.explanation.explanation import Explanation
from ifnormal.training.networks.generator import Generator
from known_detectors import COLOR, KnownDetector, mean_color, red
from known_explainers import color_explainer


@pytest.fixture(scope="module")
def short() -> Explainer:
    """Trained so briefly that its counterfactuals lie around the threshold."""
    return color_explainer(2)


@pytest.fixture(scope="module")
def before(short: Explainer) -> Explanation:
    explanation = short.explain(red(8, seed=5), traversals=0)
    assert 0 < int(explanation.valid.sum()) < explanation.valid.numel()
    return explanation


def scores_of(detector: KnownDetector, images: Tensor) -> Tensor:
    return in_batches(detector, images.flatten(0, 1)).view(images.shape[:2])


def test_what_missed_the_threshold_reaches_it(short: Explainer, before: Explanation) -> None:
    result = refine(short.generator, short.detector, before.anomalies, before.counterfactuals)
    after = scores_of(mean_color(), result.images)
    assert (after <= short.detector.threshold).all()
    assert torch.equal(result.changed, ~before.valid)
    assert torch.allclose(result.scores, after, atol=1e-6)
    assert result.images.dtype == torch.uint8


def test_what_is_valid_stays_bit_for_bit(short: Explainer, before: Explanation) -> None:
    given = before.counterfactuals.clone()
    result = refine(short.generator, short.detector, before.anomalies, before.counterfactuals)
    assert torch.equal(result.images[before.valid], given[before.valid])
    assert torch.equal(before.counterfactuals, given)
    assert not torch.equal(result.images[~before.valid], given[~before.valid])


def test_every_scored_image_is_counted(short: Explainer, before: Explanation) -> None:
    asked = 0

    class Counting(KnownDetector):
        def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal asked
            asked += 0 if images.requires_grad else len(images)
            return super().inspect(images)

    detector = Counting(mean_color().weights)
    result = refine(short.generator, detector, before.anomalies, before.counterfactuals)
    missed = int((~before.valid).sum())
    steps = RefineConfig().steps
    assert result.queries == asked == before.valid.numel() + (steps + 2) * missed


def test_nothing_missed_asks_each_counterfactual_once(
    short: Explainer, before: Explanation
) -> None:
    detector = mean_color()
    detector.threshold = 0.999
    result = refine(short.generator, detector, before.anomalies, before.counterfactuals)
    assert result.queries == before.valid.numel()
    assert not result.changed.any()
    assert torch.equal(result.images, before.counterfactuals)


def test_what_cannot_be_reached_stays_as_the_generator_made_it(
    short: Explainer, before: Explanation
) -> None:
    detector = mean_color()
    detector.threshold = 1e-6
    result = refine(
        short.generator,
        detector,
        before.anomalies,
        before.counterfactuals,
        RefineConfig(steps=2),
    )
    assert not result.changed.any()
    assert torch.equal(result.images, before.counterfactuals)


def test_reach_bounds_the_distance_from_the_generators_answer(
    short: Explainer, before: Explanation
) -> None:
    answers = before.counterfactuals
    near = refine(
        short.generator, short.detector, before.anomalies, answers, RefineConfig(reach=0.5)
    )
    own = (answers.float() - before.anomalies[:, None]).abs().mean((2, 3, 4)) / 255
    moved = (near.images.float() - answers).abs().mean((2, 3, 4)) / 255
    assert (moved <= 0.5 * own.clamp_min(0.02) + 1e-6).all()


def test_it_aims_below_the_threshold(short: Explainer, before: Explanation) -> None:
    def typical(aim: float) -> float:
        config = RefineConfig(aim=aim)
        result = refine(
            short.generator, short.detector, before.anomalies, before.counterfactuals, config
        )
        return float(result.scores[result.changed].median())

    assert typical(0.25) < typical(0.5)


def test_the_same_again_gives_the_same(short: Explainer, before: Explanation) -> None:
    first, second = (
        refine(short.generator, short.detector, before.anomalies, before.counterfactuals)
        for _ in range(2)
    )
    assert torch.equal(first.images, second.images)


def test_works_within_inference_mode(short: Explainer, before: Explanation) -> None:
    with torch.inference_mode():
        result = refine(short.generator, short.detector, before.anomalies, before.counterfactuals)
    assert result.changed.any()


def test_weights_keep_no_gradient(short: Explainer, before: Explanation) -> None:
    refine(short.generator, short.detector, before.anomalies, before.counterfactuals)
    assert all(weight.grad is None for weight in short.generator.parameters())


@pytest.mark.parametrize(("count", "concepts"), [(0, 2), (3, 0)])
def test_nothing_to_refine(short: Explainer, count: int, concepts: int) -> None:
    anomalies = torch.zeros(count, *COLOR, dtype=torch.uint8)
    nothing = torch.zeros(count, concepts, *COLOR, dtype=torch.uint8)
    result = refine(short.generator, short.detector, anomalies, nothing)
    assert result.images.shape == nothing.shape
    assert result.changed.shape == result.scores.shape == (count, concepts)
    assert result.queries == 0


def test_images_that_do_not_fit_together_are_refused(short: Explainer) -> None:
    anomalies = torch.zeros(2, *COLOR, dtype=torch.uint8)
    with pytest.raises(ValueError, match="anomalies"):
        refine(short.generator, short.detector, anomalies, anomalies[:, None, :, :8])


class _BlackBox(KnownDetector):
    """Scores as `mean_color`, without a gradient."""

    is_black_box = True

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        log_odds, features = super().inspect(images.detach())
        return log_odds, features


def test_a_black_box_is_refined_by_its_surrogate(short: Explainer, before: Explanation) -> None:
    box = _BlackBox(mean_color().weights)
    result = refine(
        short.generator, box, before.anomalies, before.counterfactuals, guide=mean_color()
    )
    assert (scores_of(box, result.images) <= box.threshold).all()
    assert result.changed.any()


def test_a_black_box_without_surrogate_is_refused(short: Explainer, before: Explanation) -> None:
    box = _BlackBox(mean_color().weights)
    with pytest.raises(UserError, match="no gradient"):
        refine(short.generator, box, before.anomalies, before.counterfactuals)


def test_a_detector_that_turns_out_to_have_no_gradient_is_refused(
    short: Explainer, before: Explanation
) -> None:
    box = _BlackBox(mean_color().weights)
    box.is_black_box = False
    with pytest.raises(UserError, match="black box"):
        refine(short.generator, box, before.anomalies, before.counterfactuals)


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"learning_rate": 0.0}, {"minimality": -1.0}, {"aim": 1.0}, {"reach": 0.0}],
)
def test_senseless_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        RefineConfig(**options)  # type: ignore[arg-type]


def test_steering_and_editing_are_what_the_generator_does() -> None:
    generator = Generator(3, 2, GeneratorConfig(width=4))
    images, target = torch.rand(3, *COLOR), torch.rand(3)
    concept = torch.tensor([0, 1, 1])
    whole = generator(images, target, concept)
    parts = generator.edit(images, generator.steer(target, concept))
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1], parts[1])
