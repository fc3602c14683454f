import dataclasses
import json

import pytest
import torch
from torch import Generator

from ifnormal.data.setup import AnomalySetup
from ifnormal.errors import UserError
from ifnormal.explanation import Explanation
from ifnormal.metrics import METRICS
from ifnormal.metrics.evaluate import evaluate, explanation_truth
from ifnormal.metrics.fid import fid_n
from ifnormal.metrics.judge import AttributeJudge, JudgeNetwork

N, K = 6, 2
COST = {"wall_clock_s", "images_per_s"}


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
        scores_before=torch.full((len(anomalies),), 0.9),
        scores_after=torch.tensor([0.1, 0.7]).expand(len(anomalies), K),
        concept_probabilities=torch.eye(K).expand(len(anomalies), K, K),
        threshold=0.5,
        traversal_targets=torch.zeros(1),
        traversals=pixels(6, 0, K, 1, 3, 16, 16),
        traversal_scores=torch.zeros(0, K, 1),
        names=tuple("abcdefghij"[: len(anomalies)]),
    )


NORMAL_SCORES = torch.tensor([0.2, 0.3])


@pytest.mark.parametrize("part", ["test", "validation"])
def test_every_registered_figure_is_there_and_json_can_hold_it(setup, judge, part):
    source = setup.test_anomalies if part == "test" else setup.validation_anomalies
    figures = evaluate(explain(source[:N]), NORMAL_SCORES, setup, judge, 0, 97.0, part)
    extras = {"normality_auroc_per_concept", "fid_n_per_concept", "fid_extractor"}
    assert set(figures) == (set(METRICS) - COST) | extras
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
    assert len(figures["fid_n_per_concept"]) == K
    assert set(figures["judge_accuracy"]) == {"digit", "color"}
    for key in ("truly_normal", "minimal_edit", "mse", "perceptual_distance"):
        assert len(figures[key]) == K


def test_truth_marks_every_counterfactual(setup, judge):
    result = explanation_truth(explain(setup.test_anomalies[:N]), setup, judge)
    assert result.is_normal.shape == result.is_minimal.shape == (N, K)


def test_other_images_than_the_setups_are_refused(setup, judge):
    with pytest.raises(ValueError, match="first 6 test anomalies"):
        explanation_truth(explain(setup.test_anomalies[1 : N + 1]), setup, judge)


@pytest.mark.parametrize("missing", ["attributes", "normal_attributes"])
def test_a_setup_that_knows_no_truth_is_refused(setup, judge, missing):
    setup = dataclasses.replace(setup, **{missing: {}})
    with pytest.raises(UserError, match="does not say"):
        evaluate(explain(setup.test_anomalies[:N]), NORMAL_SCORES, setup, judge, 0, 97.0)
