"""evaluate: every figure of `metrics.json` that can be had from an explanation."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.evaluation import METRICS
from ifnormal.evaluation.acceptance import (
    accepted_by_all,
    anomalies_accepted_by_all,
    normal_accepted_by_all,
    valid_and_accepted,
)
from ifnormal.evaluation.auroc import auroc, normality_auroc
from ifnormal.evaluation.concepts import concept_accuracy, fresh_concept_accuracy
from ifnormal.evaluation.distance import diversity, mse, perceptual_distance
from ifnormal.evaluation.fid import Features, fid_n, kid
from ifnormal.evaluation.judge.judge import AttributeJudge, judge_accuracy
from ifnormal.evaluation.metric import IMAGES_PER_S, WALL_CLOCK_S
from ifnormal.evaluation.monotonicity import monotonicity
from ifnormal.evaluation.second_opinion import SecondOpinion
from ifnormal.evaluation.substitutability import LEAST_ANOMALIES, substitutability
from ifnormal.evaluation.truth import Truth, normal_share, truth
from ifnormal.evaluation.validity import second_detector_agrees, validity
from ifnormal.explanation.explanation import Explanation

Part = Literal["test", "validation"]

COST = {WALL_CLOCK_S.key, IMAGES_PER_S.key}  # measured where a run is made


def evaluate(
    explanation: Explanation,
    normal_scores: Tensor,
    setup: AnomalySetup,
    judge: AttributeJudge | None,
    seed: int,
    detector_auroc: float,
    part: Part = "test",
    second: SecondOpinion | None = None,
    features: Features | None = None,
) -> dict[str, Any]:
    """Measure an explanation of a setup's first anomalies.

    Args:
        explanation: of `setup.<part>_anomalies`, or the first few of them, in their order.
        normal_scores: (N0,) detector scores of `setup.<part>_normal`.
        setup: the images; for a judge, with attributes of these anomalies.
        judge: trained on the same setup; None where nobody knows what its images show.
        seed: of the fresh concept classifier and of substitutability.
        detector_auroc: in %, as measured on the whole test data.
        part: "validation" to choose a recipe, "test" for the figures.
        second: another detector.
        features: to measure FID, KID and the like in; by default those of the judge or, without
            one, of the second detector.

    Returns:
        JSON-compatible values under the keys of `METRICS` (all but the two of cost), lists having
        one entry a concept, None where a figure has no meaning or nobody can tell. Besides,
        `normality_auroc_per_concept`, `fid_n_per_concept`; `fid_extractor`, the name of the
        features behind FID, KID, perceptual distance and diversity; and to read figures by:
        `truly_normal_real`, what the judge says of real normal images, `substitutability_real`,
        `second_detector_auroc`, and `accepted_by_all_real` and `accepted_by_all_before`, how many
        real normal images and how many anomalies all independent detectors accept.

    Raises:
        UserError: there is a judge, but the setup does not know the attributes of its anomalies.
        ValueError: the explanation is of other images, or of fewer than two.
    """
    _require_same(explanation, setup, part)
    anomalies, edited = explanation.anomalies, explanation.counterfactuals
    aurocs = normality_auroc(normal_scores, explanation.calibrated_scores_after)
    return {
        **{key: None for key in METRICS if key not in COST},
        "detector_auroc": detector_auroc,
        "normality_auroc": _mean(aurocs),
        "normality_auroc_per_concept": aurocs,
        "concept_accuracy": _concept_accuracy(explanation.concept_probabilities),
        "concept_accuracy_fresh": fresh_concept_accuracy(anomalies, edited, seed),
        "validity": validity(explanation.calibrated_scores_after, explanation.calibrated_threshold),
        "monotonicity": monotonicity(
            explanation.traversal_targets, explanation.calibrated_traversal_scores
        ),
        "mse": mse(anomalies, edited),
        **_of_features(features or judge or second, anomalies, edited, _normal(setup, part)),
        **_of_judge(judge, explanation, setup, part),
        **_of_independent(explanation),
        **_of_second(second, edited, setup, part),
        **_of_substitutes(explanation, setup, seed, part),
    }


def _concept_accuracy(probabilities: Tensor) -> float | None:
    """None where nobody tells concepts apart: an editor without a concept classifier."""
    concepts = probabilities.shape[-1]
    is_uniform = concepts > 1 and bool((probabilities == 1 / concepts).all())
    return None if is_uniform else concept_accuracy(probabilities)


def _of_features(
    network: Features | None, anomalies: Tensor, edited: Tensor, normal: Tensor
) -> dict[str, Any]:
    if network is None:
        return {"fid_n_per_concept": None, "fid_extractor": None}
    features, of_normal = network.features(anomalies), network.features(normal)
    each = [network.features(edited[:, k]) for k in range(edited.shape[1])]
    # All concepts together: each by itself covers only a part of what is normal.
    together = torch.stack(each, 1).flatten(0, 1)
    return {
        "fid_n": fid_n(together, features, of_normal),
        "fid_n_per_concept": [fid_n(own, features, of_normal) for own in each],
        "fid_extractor": network.extractor,
        "kid": kid(together, of_normal),
        "perceptual_distance": perceptual_distance(network.maps, anomalies, edited),
        "diversity": diversity(network.maps, edited),
    }


def _of_judge(
    judge: AttributeJudge | None, explanation: Explanation, setup: AnomalySetup, part: Part
) -> dict[str, Any]:
    if judge is None:
        return {"truly_normal_real": None}
    result = explanation_truth(explanation, setup, judge, part)
    true = _true(setup, part, len(explanation))
    return {
        "truly_normal": result.truly_normal,
        "truly_normal_real": normal_share(
            judge.predict(_normal(setup, part)), setup.normal_attributes
        ),
        "minimal_edit": result.minimal_edit,
        "two_reasons": result.two_reasons,
        "two_ways": result.two_ways,
        "distinct_normals": result.distinct_normals,
        "judge_accuracy": judge_accuracy(judge, explanation.anomalies, true),
    }


def _of_second(
    second: SecondOpinion | None, edited: Tensor, setup: AnomalySetup, part: Part
) -> dict[str, Any]:
    if second is None:
        return {"second_detector_auroc": None}
    scores, threshold = second.scores(edited), second.detector.threshold
    of_normal, of_anomalies = (
        second.scores(images) for images in (_normal(setup, part), _anomalies(setup, part))
    )
    return {
        "second_detector_agrees": second_detector_agrees(scores, threshold),
        "second_detector_auroc": auroc(of_normal, of_anomalies),
    }


def _of_independent(explanation: Explanation) -> dict[str, Any]:
    opinions = explanation.second_opinion
    if opinions is None:
        return {"accepted_by_all_real": None, "accepted_by_all_before": None}
    return {
        "accepted_by_all": accepted_by_all(opinions),
        "valid_and_accepted": valid_and_accepted(explanation),
        "accepted_by_all_real": normal_accepted_by_all(opinions),
        "accepted_by_all_before": anomalies_accepted_by_all(opinions),
    }


def _of_substitutes(
    explanation: Explanation, setup: AnomalySetup, seed: int, part: Part
) -> dict[str, Any]:
    if len(explanation) < LEAST_ANOMALIES:
        return {"substitutability_real": None}
    found = substitutability(
        explanation.anomalies,
        explanation.counterfactuals,
        setup.train_normal,
        _normal(setup, part),
        seed,
    )
    return {
        "substitutability": found.counterfactuals,
        "substitutability_real": found.real,
    }


def explanation_truth(
    explanation: Explanation, setup: AnomalySetup, judge: AttributeJudge, part: Part = "test"
) -> Truth:
    """What the judge says of an explanation's counterfactuals, for figures and to mark pictures.

    Raises:
        UserError: the setup does not know the attributes of its anomalies.
        ValueError: the explanation is not of the setup's first anomalies.
    """
    _require_same(explanation, setup, part)
    predicted = judge.predict(explanation.counterfactuals)
    return truth(predicted, _true(setup, part, len(explanation)), setup.normal_attributes)


def _require_same(explanation: Explanation, setup: AnomalySetup, part: Part) -> None:
    n = len(explanation)
    if not torch.equal(explanation.anomalies.cpu(), _anomalies(setup, part)[:n].cpu()):
        raise ValueError(f"the explanation is not of the first {n} {part} anomalies of the setup")


def _normal(setup: AnomalySetup, part: Part) -> Tensor:
    return setup.test_normal if part == "test" else setup.validation_normal


def _anomalies(setup: AnomalySetup, part: Part) -> Tensor:
    return setup.test_anomalies if part == "test" else setup.validation_anomalies


def _true(setup: AnomalySetup, part: Part, count: int) -> dict[str, Tensor]:
    known = setup.attributes.get(f"{part}_anomalies")
    if not known or not setup.normal_attributes:
        raise UserError(
            f"The setup {setup.name} does not say what its {part} anomalies show; "
            "give it attributes and normal_attributes to measure true normality."
        )
    return {name: values[:count] for name, values in known.items()}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
