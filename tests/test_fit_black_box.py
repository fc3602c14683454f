"""A detector without a gradient is explained: within its budget, repeatably, judged for real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from black_boxes import QUICK, BlackBox, quick
from ifnormal.common.errors import UserError
from ifnormal.common.storage import load_tensors
from ifnormal.config import DataConfig, FitConfig, SurrogateConfig, Weights
from ifnormal.data import load_setup
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.calibration import Calibration, calibrate, threshold_at
from ifnormal.detectors.detector import in_batches
from ifnormal.explainers.explainer import Explainer
from ifnormal.training.fit import fit
from ifnormal.training.state import TrainingState
from known_detectors import EVERY_TERM, blue, mean_color, red
from tiny_fits import InterruptedAtError, interrupt


def train(
    config: FitConfig,
    folder: Path | None = None,
    resume: bool = False,
    on_step: Callable[[TrainingState], None] | None = None,
    box: BlackBox | None = None,
) -> TrainingState:
    return fit(box or BlackBox(), blue(40), red(40), config, 0, folder, resume, on_step)


def interrupted(config: FitConfig, folder: Path, at: int, resume: bool = False) -> int:
    """A fit that breaks off; returns how many queries it had made."""
    box = BlackBox()
    with pytest.raises(InterruptedAtError):
        train(config, folder, resume, interrupt(at), box)
    return box.asked


@cache
def uninterrupted(config: FitConfig) -> TrainingState:
    return train(config)


def everything(state: TrainingState, folder: Path) -> dict[str, Tensor]:
    """All there is of a state, as it would be saved."""
    state.save(folder)
    return load_tensors(folder, "checkpoint")[0]


CONFIGS = {
    "two concepts by features": quick(checkpoint_every=4),
    "every term, three concepts by pixels": quick(
        checkpoint_every=4, concepts=3, concept_space="pixels", weights=EVERY_TERM
    ),
    "queries forgotten on the way": quick(
        steps=12, checkpoint_every=2, surrogate=replace(QUICK, refresh_every=1, query_budget=150)
    ),
}


class TestResumes:
    @pytest.mark.parametrize(
        ("config", "at"), [*zip(CONFIGS.values(), (3, 5, 7), strict=True)], ids=CONFIGS
    )
    def test_to_the_same_bits(self, tmp_path: Path, config: FitConfig, at: int) -> None:
        interrupted(config, tmp_path, at)
        torch.manual_seed(12345)
        resumed, straight = train(config, tmp_path, resume=True), uninterrupted(config)
        assert resumed.surrogate_report == straight.surrogate_report
        one, other = (
            everything(state, tmp_path / name) for state, name in ((resumed, "a"), (straight, "b"))
        )
        assert one.keys() == other.keys()
        assert any(name.startswith("surrogate/optimizer/") for name in one)
        assert [name for name in one if not torch.equal(one[name], other[name])] == []

    def test_twice_in_a_row(self, tmp_path: Path) -> None:
        config = quick(checkpoint_every=2)
        interrupted(config, tmp_path, 3)
        interrupted(config, tmp_path, 6, resume=True)
        resumed, straight = train(config, tmp_path, resume=True), uninterrupted(config)
        one, other = (
            everything(state, tmp_path / name) for state, name in ((resumed, "a"), (straight, "b"))
        )
        assert [name for name in one if not torch.equal(one[name], other[name])] == []

    def test_without_asking_again_what_was_known_before_the_first_step(
        self, tmp_path: Path
    ) -> None:
        config = quick(checkpoint_every=50)
        interrupted(config, tmp_path, 1)
        box = BlackBox()
        resumed = train(config, tmp_path, resume=True, box=box)
        assert resumed.surrogate_report is not None
        queries = resumed.surrogate_report["queries"]
        assert box.asked == queries["edits"] + queries["fresh_edits"]

    def test_a_new_fit_takes_nothing_from_an_old_one(self, tmp_path: Path) -> None:
        config = CONFIGS["two concepts by features"]
        interrupted(config, tmp_path, 5)
        again, straight = train(config, tmp_path), uninterrupted(config)
        assert again.surrogate_report == straight.surrogate_report

    def test_images_are_in_files_of_their_own(self, tmp_path: Path) -> None:
        train(quick(steps=12, checkpoint_every=4), tmp_path)
        saved, facts = load_tensors(tmp_path, "checkpoint")
        assert not any(value.dtype == torch.uint8 and value.ndim == 4 for value in saved.values())
        assert len(facts["surrogate"]["parts"]) == 3
        assert len(list((tmp_path / "queries").glob("*.safetensors"))) == 3

    def test_other_training_images_are_named(self, tmp_path: Path) -> None:
        config = quick(checkpoint_every=2)
        interrupted(config, tmp_path, 3)
        with pytest.raises(UserError, match=r"other (training|normal) images"):
            fit(BlackBox(), blue(30), red(30), config, 0, tmp_path, True)

    def test_another_budget_is_named(self, tmp_path: Path) -> None:
        config = quick(checkpoint_every=2)
        interrupted(config, tmp_path, 3)
        with pytest.raises(UserError, match="another surrogate"):
            train(replace(config, surrogate=replace(QUICK, query_budget=999)), tmp_path, True)


@settings(max_examples=4, deadline=None)
@given(budget=st.integers(100, 500), every=st.integers(1, 5), batch=st.integers(1, 12))
def test_a_fit_stays_within_its_budget(budget: int, every: int, batch: int) -> None:
    surrogate = replace(QUICK, query_budget=budget, refresh_every=every, steps=20)
    box = BlackBox()
    state = train(quick(steps=4, batch_size=batch, surrogate=surrogate), box=box)
    assert state.surrogate_report is not None
    assert state.surrogate_report["queries"]["used"] == box.asked <= budget


def test_a_detector_with_a_gradient_has_no_surrogate() -> None:
    state = fit(mean_color(), blue(), red(), quick(steps=2), 0)
    assert state.surrogate is None
    assert state.surrogate_report is None


def test_the_surrogates_error_is_logged(tmp_path: Path) -> None:
    train(quick(steps=4), tmp_path)
    log = (tmp_path / "losses.jsonl").read_text()
    assert '"surrogate_error"' in log
    assert '"surrogate_fooled"' in log


def test_images_that_cannot_be_used_cost_no_query() -> None:
    box = BlackBox()
    with pytest.raises(UserError, match="0 and 3"):
        fit(box, blue(0), red(3), quick(), 0)
    assert box.asked == 0


@pytest.fixture(scope="module")
def learned() -> tuple[BlackBox, Explainer]:
    plain = Weights(gan=0.0, concept=0.0, mode=0.0, score=10.0)
    surrogate = replace(QUICK, query_budget=3000, steps=60, width=8, refresh_every=3)
    config = quick(steps=50, learning_rate=1e-2, ema=0.9, weights=plain, surrogate=surrogate)
    box = BlackBox()
    return box, Explainer(box, config).fit(blue(60), red(60), seed=0)


class TestExplainer:
    def test_the_black_boxes_own_scores_fall(self, learned: tuple[BlackBox, Explainer]) -> None:
        box, explainer = learned
        anomalies = red(12, seed=9)
        explanation = explainer.explain(anomalies, traversals=0)
        assert in_batches(box.known, anomalies).min() > 0.8
        assert explanation.calibrated_scores_after.mean() < 0.4
        real = in_batches(box.known, explanation.counterfactuals.flatten(0, 1))
        torch.testing.assert_close(explanation.calibrated_scores_after.flatten(), real)

    def test_fidelity_is_among_its_facts(self, learned: tuple[BlackBox, Explainer]) -> None:
        _, explainer = learned
        report = explainer.explain(red(2), traversals=0).facts["surrogate"]
        assert report["queries"]["used"] <= report["queries"]["budget"] == 3000
        assert report["on_fresh_edits"]["agreement"] > 0.8
        assert report["on_held_out"]["agreement"] > 0.9

    def test_its_facts_account_for_every_query(self, few_synthetic: None) -> None:
        box = BlackBox()
        facts = Explainer(box, quick(steps=2)).fit(blue(40), seed=0).facts
        assert box.asked == facts["queries_before_fit"] + facts["surrogate"]["queries"]["used"]

    def test_saved_and_loaded_it_explains_identically(
        self, learned: tuple[BlackBox, Explainer], tmp_path: Path
    ) -> None:
        box, explainer = learned
        explainer.save(tmp_path)
        loaded = Explainer.load(tmp_path, box)
        one, other = (e.explain(red(4, seed=9), traversals=0) for e in (explainer, loaded))
        assert torch.equal(one.counterfactuals, other.counterfactuals)
        torch.testing.assert_close(one.concept_probabilities, other.concept_probabilities)
        assert one.facts == other.facts


class BoostedForest:
    """Gradient boosted trees on principal components of the pixels: flat steps everywhere."""

    is_black_box = True

    def __init__(self, setup: AnomalySetup) -> None:
        self.shape, self.threshold = setup.shape, 0.5
        images = np.concatenate([_pixels(setup.train_normal), _pixels(setup.outliers)])
        labels = np.repeat([0, 1], [len(setup.train_normal), len(setup.outliers)])
        self.components = PCA(40, random_state=0).fit(images)
        trees = HistGradientBoostingClassifier(max_iter=60, random_state=0, early_stopping=False)
        self.trees = trees.fit(self.components.transform(images), labels)
        self.calibration = Calibration()
        normal, outliers = (
            in_batches(lambda x: self.inspect(x)[0], images)
            for images in (setup.validation_normal, setup.validation_outliers)
        )
        self.calibration = calibrate(normal, outliers)
        self.threshold = threshold_at(self.calibration(normal).sigmoid(), 0.05)

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        log_odds = self.trees.decision_function(self.components.transform(_pixels(images * 255)))
        return self.calibration(torch.from_numpy(log_odds).float()), torch.zeros(len(images), 0)

    def __call__(self, images: Tensor) -> Tensor:
        return self.inspect(images)[0].sigmoid()


def _pixels(images: Tensor) -> np.ndarray:
    return images.flatten(1).numpy().astype(np.float32) / 255


@pytest.mark.slow
def test_trees_on_coloured_digits() -> None:
    setup = load_setup(DataConfig(drawings=600, outliers=2000), 0)
    forest = BoostedForest(setup)
    surrogate = SurrogateConfig(query_budget=15_000, steps=300, width=16)
    config = FitConfig(steps=150, batch_size=16, surrogate=surrogate)
    explainer = Explainer(forest, config).fit(setup.train_normal, setup.outliers, 0)
    explanation = explainer.explain(setup.test_anomalies[:200], traversals=0)
    report = explanation.facts["surrogate"]
    assert report["queries"]["used"] <= 15_000
    assert report["on_fresh_edits"]["agreement"] > 0.85
    assert report["on_fresh_edits"]["spearman"] > 0.7
    assert (explanation.calibrated_scores_before > forest.threshold).float().mean() > 0.9
    # So short a fit finds the easy way, another colour; drawing a one takes longer.
    assert explanation.valid.float().mean(0).max() > 0.5
