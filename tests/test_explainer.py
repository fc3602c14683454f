"""The front door: what it explains, what it says of it, and that it comes back from disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.detector import in_batches
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.explanation import Explanation
from known_detectors import KnownDetector, blue, mean_color, red, tiny

CONFIGS = {
    "features": tiny(steps=6),
    "pixels": tiny(steps=6, concept_space="pixels", concepts=3),
    "one concept": tiny(steps=6, concepts=1),
    "bfloat16": tiny(steps=2, precision="bf16-mixed"),
}
FIELDS = [
    "counterfactuals",
    "calibrated_scores_before",
    "calibrated_scores_after",
    "concept_probabilities",
    "traversals",
    "calibrated_traversal_scores",
    "traversal_targets",
]


@dataclass(frozen=True)
class Fitted:
    explainer: Explainer
    explanation: Explanation
    anomalies: Tensor

    @property
    def detector(self) -> KnownDetector:
        detector = self.explainer.detector
        assert isinstance(detector, KnownDetector)
        return detector

    @property
    def concepts(self) -> int:
        return self.explainer.config.concepts


@pytest.fixture(scope="module", params=CONFIGS)
def fitted(request: pytest.FixtureRequest) -> Fitted:
    explainer = Explainer(mean_color(), CONFIGS[request.param]).fit(blue(), red(), seed=3)
    anomalies = red(5, seed=7)
    return Fitted(
        explainer, explainer.explain(anomalies, traversals=2, traversal_steps=4), anomalies
    )


def test_shapes(fitted: Fitted) -> None:
    explanation, concepts = fitted.explanation, fitted.concepts
    assert explanation.counterfactuals.shape == (5, concepts, 3, 16, 16)
    assert explanation.concept_probabilities.shape == (5, concepts, concepts)
    assert explanation.traversals.shape == (2, concepts, 4, 3, 16, 16)
    assert explanation.calibrated_traversal_scores.shape == (2, concepts, 4)
    assert explanation.traversal_targets.tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert torch.equal(explanation.anomalies, fitted.anomalies)
    assert explanation.names == ("0", "1", "2", "3", "4")
    assert explanation.threshold == fitted.detector.threshold


def test_scores_are_of_the_saved_pixels(fitted: Fitted) -> None:
    explanation, detector = fitted.explanation, fitted.detector
    assert torch.equal(explanation.calibrated_scores_before, in_batches(detector, fitted.anomalies))
    for k in range(fitted.concepts):
        after = in_batches(detector, explanation.counterfactuals[:, k])
        torch.testing.assert_close(
            explanation.calibrated_scores_after[:, k], after, atol=1e-6, rtol=0
        )
        for t in range(4):
            on_the_way = in_batches(detector, explanation.traversals[:, k, t])
            torch.testing.assert_close(
                explanation.calibrated_traversal_scores[:, k, t], on_the_way, atol=1e-6, rtol=0
            )
    assert torch.equal(
        explanation.valid, explanation.calibrated_scores_after <= explanation.threshold
    )


def test_a_traversal_ends_at_the_counterfactual(fitted: Fitted) -> None:
    ends = fitted.explanation.traversals[:, :, -1].int()
    difference = (ends - fitted.explanation.counterfactuals[:2].int()).abs()
    assert difference.max() <= 1


def test_concept_probabilities_sum_to_1(fitted: Fitted) -> None:
    probabilities = fitted.explanation.concept_probabilities
    torch.testing.assert_close(probabilities.sum(2), torch.ones(5, fitted.concepts))
    assert (probabilities >= 0).all()


def test_the_same_twice(fitted: Fitted) -> None:
    again = fitted.explainer.explain(fitted.anomalies, traversals=2, traversal_steps=4)
    for name in FIELDS:
        assert torch.equal(getattr(again, name), getattr(fitted.explanation, name)), name


def test_save_and_load_explain_identically(fitted: Fitted, tmp_path: Path) -> None:
    fitted.explainer.save(tmp_path)
    loaded = Explainer.load(tmp_path, fitted.detector)
    assert loaded.config == fitted.explainer.config
    assert loaded.seed == 3
    again = loaded.explain(fitted.anomalies, traversals=2, traversal_steps=4)
    for name in FIELDS:
        here, there = getattr(again, name), getattr(fitted.explanation, name)
        if name == "concept_probabilities":
            torch.testing.assert_close(here, there, atol=1e-6, rtol=0)
        else:
            assert torch.equal(here, there), name
    assert again.facts == fitted.explanation.facts


def test_one_anomaly_is_explained_as_in_company(fitted: Fitted) -> None:
    alone = fitted.explainer.explain(fitted.anomalies[:1], names=["red 1"], traversals=0)
    difference = alone.counterfactuals.int() - fitted.explanation.counterfactuals[:1].int()
    assert difference.abs().max() <= 1
    assert alone.names == ("red 1",)
    assert len(alone) == 1
    assert alone.traversals.shape[0] == 0


def test_an_explanation_can_be_saved(fitted: Fitted, tmp_path: Path) -> None:
    fitted.explanation.save(tmp_path)
    again = Explanation.load(tmp_path)
    assert torch.equal(again.counterfactuals, fitted.explanation.counterfactuals)
    assert torch.equal(again.valid, fitted.explanation.valid)
    assert again.facts["seed"] == 3


def test_edits_are_floats_in_range(fitted: Fitted) -> None:
    edited = fitted.explainer.edit(to_float(fitted.anomalies), 0.5, 0)
    assert edited.dtype == torch.float32
    assert edited.shape == fitted.anomalies.shape
    assert edited.min() >= 0
    assert edited.max() <= 1


@pytest.mark.parametrize(
    "shape", [(2, 3, 16, 20), (2, 1, 16, 16), (3, 16, 16), (0, 3, 16, 16)], ids=str
)
def test_other_shapes_are_refused(fitted: Fitted, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"3x16x16|is \(N, 1 or 3|no images"):
        fitted.explainer.explain(torch.zeros(shape, dtype=torch.uint8))


class TestUnfitted:
    explainer = Explainer(mean_color(), tiny())

    def test_cannot_explain(self) -> None:
        with pytest.raises(UserError, match="fit"):
            self.explainer.explain(red(1))

    def test_cannot_edit(self) -> None:
        with pytest.raises(UserError, match="fit"):
            self.explainer.edit(to_float(red(1)), 0.0, 0)

    def test_cannot_be_saved(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="fit"):
            self.explainer.save(tmp_path)


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 16, 20)], ids=str)
def test_loading_for_a_detector_of_another_shape(
    fitted: Fitted, tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    fitted.explainer.save(tmp_path)
    with pytest.raises(UserError, match=r"3, 16, 16.*detector"):
        Explainer.load(tmp_path, mean_color(shape))


@pytest.mark.parametrize("damage", ["gone", "flipped", "another format"])
def test_damaged_folders_are_noticed(fitted: Fitted, tmp_path: Path, damage: str) -> None:
    fitted.explainer.save(tmp_path)
    facts, (weights,) = tmp_path / "explainer.json", tmp_path.glob("*.safetensors")
    if damage == "gone":
        facts.unlink()
    elif damage == "flipped":
        weights.write_bytes(b"?" + weights.read_bytes()[1:])
    else:
        facts.write_text(facts.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(UserError, match="explainer"):
        Explainer.load(tmp_path, fitted.detector)


def test_fitting_again_forgets_what_was_fitted_before(tmp_path: Path) -> None:
    options: dict[str, Any] = {"traversals": 0}
    explainer = Explainer(mean_color(), tiny(steps=2, learning_rate=0.05))
    first = explainer.fit(blue(), red(), seed=0).explain(red(2), **options)
    second = explainer.fit(blue(), red(), seed=1).explain(red(2), **options)
    assert explainer.seed == 1
    assert not torch.equal(first.counterfactuals, second.counterfactuals)
    assert explainer.images_per_second > 0
