import dataclasses
import json
from functools import partial

import pytest
import torch
from torch import Generator

from ifnormal.common.errors import UserError
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.detector import Detector, in_batches
from ifnormal.evaluation import METRICS
from ifnormal.evaluation import evaluate as module
from ifnormal.evaluation.evaluate import evaluate, explanation_truth
from ifnormal.evaluation.fid import fid_n, kid
from ifnormal.evaluation.independent_detectors import IndependentDetectors
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.evaluation.judge.network import JudgeNetwork
from ifnormal.evaluation.second_opinion import SecondOpinion
from ifnormal.explanation.explanation import Explanation

N, K = 6, 2
COST = {"wall_clock_s", "images_per_s"}
# Independent detectors were not asked.
NOBODY_ASKED = {
    "accepted_by_all",
    "valid_and_accepted",
    "accepted_by_all_real",
    "accepted_by_all_before",
}
EXTRAS = {
    "normality_auroc_per_concept",
    "fid_n_per_concept",
    "fid_extractor",
    "substitutability_real",
    "truly_normal_real",
    "second_detector_auroc",
    "accepted_by_all_real",
    "accepted_by_all_before",
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("fresh_concept_accuracy", "substitutability"):
        monkeypatch.setattr(module, name, partial(getattr(module, name), steps=3))


def pixels(seed, *shape):
    return torch.randint(256, shape, generator=Generator().manual_seed(seed)).to(torch.uint8)


@pytest.fixture
def setup():
    images = pixels(0, 10, 3, 16, 16)
    true = {"digit": torch.full((10,), 3), "color": torch.zeros(10, dtype=torch.int64)}
    return AnomalySetup(
        name="noise",
        normal="digit one or cyan",
        train_normal=images,
        validation_normal=pixels(1, 8, 3, 16, 16),
        validation_anomalies=pixels(2, 10, 3, 16, 16),
        test_normal=pixels(3, 8, 3, 16, 16),
        test_anomalies=images,
        outliers=images,
        validation_outliers=images,
        attributes={"test_anomalies": true, "validation_anomalies": true},
        attribute_names={"digit": tuple("0123456789"), "color": ("red", "cyan")},
        normal_attributes={"digit": (1,), "color": (1,)},
    )


@pytest.fixture
def judge(setup):
    network = JudgeNetwork(setup.shape, {"digit": 11, "color": 3}, width=4).eval()
    return AttributeJudge(network, setup.shape, setup.attribute_names)


def explain(anomalies):
    return Explanation(
        anomalies=anomalies,
        counterfactuals=pixels(5, len(anomalies), K, 3, 16, 16),
        calibrated_scores_before=torch.full((len(anomalies),), 0.9),
        calibrated_scores_after=torch.tensor([0.1, 0.7]).expand(len(anomalies), K),
        concept_probabilities=torch.eye(K).expand(len(anomalies), K, K),
        calibrated_threshold=0.5,
        traversal_targets=torch.zeros(1),
        traversals=pixels(6, 0, K, 1, 3, 16, 16),
        calibrated_traversal_scores=torch.zeros(0, K, 1),
        names=tuple("abcdefghij"[: len(anomalies)]),
    )


NORMAL_SCORES = torch.tensor([0.2, 0.3])


@pytest.mark.parametrize("part", ["test", "validation"])
def test_every_registered_figure_is_there_and_json_can_hold_it(setup, judge, part):
    source = setup.test_anomalies if part == "test" else setup.validation_anomalies
    figures = evaluate(explain(source[:N]), NORMAL_SCORES, setup, judge, 0, 97.0, part)
    assert set(figures) == (set(METRICS) - COST) | EXTRAS
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["detector_auroc"] == 97
    assert figures["normality_auroc"] == 50
    assert figures["normality_auroc_per_concept"] == [0, 100]
    assert figures["validity"] == [100, 0]
    assert figures["concept_accuracy"] == 100
    assert figures["fid_extractor"] == "digit-color-judge"
    pooled = explain(source[:N]).counterfactuals.flatten(0, 1)
    normal = setup.test_normal if part == "test" else setup.validation_normal
    features = [judge.features(images) for images in (pooled, source[:N], normal)]
    assert figures["fid_n"] == pytest.approx(fid_n(*features))
    assert figures["kid"] == pytest.approx(kid(features[0], features[2]))
    assert len(figures["fid_n_per_concept"]) == K
    assert figures["diversity"] > 0
    assert 0 <= figures["substitutability"] <= 100
    unknown = {key for key, value in figures.items() if value is None}
    assert unknown == {
        "monotonicity",  # no traversals
        "distinct_normals",  # one normal digit, one normal colour
        "second_detector_agrees",
        "second_detector_auroc",
        *NOBODY_ASKED,
    }
    assert set(figures["judge_accuracy"]) == {"digit", "color"}
    for key in ("truly_normal", "minimal_edit", "mse", "perceptual_distance"):
        assert len(figures[key]) == K


class Bright(Detector):
    """A detector that flags what is bright, with its three mean colours as features."""

    shape, threshold = (3, 16, 16), 0.5

    def inspect(self, images):
        return 9 * (images.mean((1, 2, 3)) - 0.5), images.mean((2, 3))


NEEDS_JUDGE = {
    "truly_normal",
    "truly_normal_real",
    "minimal_edit",
    "two_reasons",
    "two_ways",
    "judge_accuracy",
}


def test_without_a_judge_features_are_the_second_detectors(setup):
    setup = dataclasses.replace(setup, attributes={}, normal_attributes={})
    explanation = explain(setup.test_anomalies[:N])
    second = SecondOpinion(Bright(), "second-bright")
    figures = evaluate(explanation, NORMAL_SCORES, setup, None, 0, 97.0, second=second)
    assert set(figures) == (set(METRICS) - COST) | EXTRAS
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["fid_extractor"] == "second-bright"
    features = [
        images.float().div(255).mean((2, 3))
        for images in (
            explanation.counterfactuals.flatten(0, 1),
            explanation.anomalies,
            setup.test_normal,
        )
    ]
    assert figures["fid_n"] == pytest.approx(fid_n(*features), rel=1e-3)
    bright = explanation.counterfactuals.float().mean((2, 3, 4)) > 127.5
    assert figures["second_detector_agrees"] == pytest.approx(
        (100 * (~bright).double().mean(0)).tolist()
    )
    assert {key for key, value in figures.items() if value is None} == (
        NEEDS_JUDGE | NOBODY_ASKED | {"distinct_normals", "monotonicity"}
    )


def test_with_neither_there_are_no_figures_of_features(setup):
    explanation = explain(setup.test_anomalies[:N])
    figures = evaluate(explanation, NORMAL_SCORES, setup, None, 0, 97.0)
    assert set(figures) == (set(METRICS) - COST) | EXTRAS
    for key in ("fid_n", "kid", "perceptual_distance", "diversity", "fid_extractor"):
        assert figures[key] is None
    assert figures["validity"] == [100, 0]
    assert figures["mse"][0] > 0


def test_too_few_for_halves_have_no_substitutability(setup, judge):
    explanation = explain(setup.test_anomalies[:3])
    figures = evaluate(explanation, NORMAL_SCORES, setup, judge, 0, 97.0)
    assert figures["substitutability"] is figures["substitutability_real"] is None


def test_several_normal_classes_of_one_attribute(setup):
    one = {"test_anomalies": {"class": torch.full((10,), 3)}}
    setup = dataclasses.replace(
        setup,
        attributes=one,
        attribute_names={"class": tuple("abcd")},
        normal_attributes={"class": (0, 2)},
    )
    network = JudgeNetwork(setup.shape, {"class": 5}, width=4).eval()
    judge = AttributeJudge(network, setup.shape, setup.attribute_names)
    figures = evaluate(explain(setup.test_anomalies[:N]), NORMAL_SCORES, setup, judge, 0, 97.0)
    assert figures["minimal_edit"] is figures["two_reasons"] is figures["two_ways"] is None
    assert 0 <= figures["distinct_normals"] <= 100
    assert len(figures["truly_normal"]) == K


def test_truth_marks_every_counterfactual(setup, judge):
    result = explanation_truth(explain(setup.test_anomalies[:N]), setup, judge)
    assert result.is_normal.shape == result.is_minimal.shape == (N, K)


def test_other_images_than_the_setups_are_refused(setup, judge):
    with pytest.raises(ValueError, match="first 6 test anomalies"):
        explanation_truth(explain(setup.test_anomalies[1 : N + 1]), setup, judge)


def test_nor_are_they_without_a_judge(setup):
    with pytest.raises(ValueError, match="first 6 test anomalies"):
        evaluate(explain(setup.test_anomalies[1 : N + 1]), NORMAL_SCORES, setup, None, 0, 97.0)


@pytest.mark.parametrize("missing", ["attributes", "normal_attributes"])
def test_a_setup_that_knows_no_truth_is_refused(setup, judge, missing):
    setup = dataclasses.replace(setup, **{missing: {}})
    with pytest.raises(UserError, match="does not say"):
        evaluate(explain(setup.test_anomalies[:N]), NORMAL_SCORES, setup, judge, 0, 97.0)


def test_independent_detectors_stand_beside_validity(setup):
    panel = IndependentDetectors.tried_on({"bright": Bright()}, setup.test_normal)
    explanation = panel.ask(explain(setup.test_anomalies[:N]))
    figures = evaluate(explanation, NORMAL_SCORES, setup, None, 0, 97.0)
    accepts = in_batches(Bright(), explanation.counterfactuals.flatten(0, 1)) <= 0.5
    accepts = accepts.view(N, K)
    assert figures["accepted_by_all"] == pytest.approx((100 * accepts.double().mean(0)).tolist())
    both = accepts & explanation.valid
    assert figures["valid_and_accepted"] == pytest.approx((100 * both.double().mean(0)).tolist())
    real = in_batches(Bright(), setup.test_normal) <= 0.5
    assert figures["accepted_by_all_real"] == pytest.approx(100 * real.double().mean().item())
    assert figures["accepted_by_all_before"] is not None
