"""An improved explanation: better counterfactuals, scored as saved, and told what was done."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from ifnormal.config import RefineConfig, ThriftConfig
from ifnormal.detectors.detector import in_batches
from ifnormal.evaluation.distance import mse
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.improve import improve
from ifnormal.explanation.explanation import Explanation
from ifnormal.explanation.totals import REFINED, THRIFTY
from known_detectors import mean_color, red
from known_explainers import color_explainer


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return color_explainer(2)


@pytest.fixture(scope="module")
def before(explainer: Explainer) -> Explanation:
    return explainer.explain(red(8, seed=5), traversals=4, traversal_steps=3)


@pytest.fixture(scope="module")
def after(explainer: Explainer, before: Explanation) -> Explanation:
    return improve(explainer, before, RefineConfig(steps=8), ThriftConfig(again=1e9))


def scores_of(images: Tensor) -> Tensor:
    outer = images.shape[:-3]
    return in_batches(mean_color(), images.flatten(0, -4)).view(outer)


def test_scores_are_of_the_saved_pixels(after: Explanation) -> None:
    assert torch.allclose(
        after.calibrated_scores_after, scores_of(after.counterfactuals), atol=1e-6
    )
    assert torch.allclose(after.own_scores_after, after.calibrated_scores_after)
    assert torch.allclose(after.calibrated_traversal_scores, scores_of(after.traversals), atol=1e-6)


def test_more_are_valid_and_none_less(before: Explanation, after: Explanation) -> None:
    assert after.valid.sum() > before.valid.sum()
    assert after.valid[before.valid].all()


def test_each_says_what_was_done(before: Explanation, after: Explanation) -> None:
    different = (after.counterfactuals != before.counterfactuals).flatten(2).any(2)
    for n, row in enumerate(after.refined):
        for k, note in enumerate(row):
            assert (note is not None) == bool(different[n, k])
            if note is None:
                continue
            assert note["score_before"] == pytest.approx(float(before.own_scores_after[n, k]))
            assert (REFINED in note["why"]) == (not note["valid_before"])
            assert REFINED in note["why"] or THRIFTY in note["why"]
            pair = after.anomalies[n : n + 1], after.counterfactuals[n : n + 1]
            assert note["mse_after"] == pytest.approx(mse(*pair)[k])


def test_concept_probabilities_are_of_the_new_pairs(
    explainer: Explainer, after: Explanation
) -> None:
    odds, words = explainer.assess(after.anomalies, after.counterfactuals)
    assert torch.allclose(after.concept_probabilities, words, atol=1e-5)
    assert torch.allclose(after.calibrated_scores_after, odds.sigmoid(), atol=1e-6)


def test_ways_end_at_the_counterfactuals(after: Explanation) -> None:
    followed = len(after.traversals)
    assert followed == 4
    assert torch.equal(after.traversals[:, :, -1], after.counterfactuals[:followed])
    assert torch.equal(
        after.calibrated_traversal_scores[:, :, -1], after.calibrated_scores_after[:followed]
    )


def test_the_given_explanation_stays_as_it_is(explainer: Explainer, before: Explanation) -> None:
    copies = [
        before.counterfactuals.clone(),
        before.traversals.clone(),
        before.calibrated_scores_after.clone(),
    ]
    improve(explainer, before, RefineConfig(steps=4), ThriftConfig())
    assert torch.equal(before.counterfactuals, copies[0])
    assert torch.equal(before.traversals, copies[1])
    assert torch.equal(before.calibrated_scores_after, copies[2])
    assert before.refined == ()
    assert "improvement" not in before.facts


def test_facts_are_json_and_add_up(before: Explanation, after: Explanation) -> None:
    facts = json.loads(json.dumps(after.facts["improvement"], allow_nan=False))
    assert facts["validity"]["before"] == pytest.approx(
        (100 * before.valid.double().mean(0)).tolist()
    )
    assert facts["validity"]["after"] == pytest.approx(
        (100 * after.valid.double().mean(0)).tolist()
    )
    assert facts["mse"]["after"] == pytest.approx(mse(after.anomalies, after.counterfactuals))
    assert facts["changed"] == [
        sum(row[k] is not None for row in after.refined) for k in range(after.concepts)
    ]
    assert facts["queries"] > 2 * before.valid.numel()
    assert facts["refine"]["steps"] == 8


def test_nothing_asked_for_changes_nothing(explainer: Explainer, before: Explanation) -> None:
    same = improve(explainer, before)
    assert torch.equal(same.counterfactuals, before.counterfactuals)
    assert torch.equal(same.calibrated_scores_after, before.calibrated_scores_after)
    assert all(note is None for row in same.refined for note in row)
    assert same.facts["improvement"]["queries"] == 0


def test_saved_and_read_again(tmp_path_factory: pytest.TempPathFactory, after: Explanation) -> None:
    folder = tmp_path_factory.mktemp("improved")
    after.save(folder)
    again = Explanation.load(folder)
    assert torch.equal(again.counterfactuals, after.counterfactuals)
    assert [list(map(bool, row)) for row in again.refined] == [
        list(map(bool, row)) for row in after.refined
    ]
