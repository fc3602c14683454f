"""evaluate: every figure of `metrics.json` that can be had from an explanation."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ifnormal.data.setup import AnomalySetup
from ifnormal.errors import UserError
from ifnormal.explanation import Explanation
from ifnormal.metrics.concept_accuracy import concept_accuracy, fresh_concept_accuracy
from ifnormal.metrics.distance import mse, perceptual_distance
from ifnormal.metrics.fid import fid_n
from ifnormal.metrics.judge import AttributeJudge, judge_accuracy
from ifnormal.metrics.normality_auroc import normality_auroc
from ifnormal.metrics.truth import Truth, truth
from ifnormal.metrics.validity import validity

Part = Literal["test", "validation"]


def evaluate(
    explanation: Explanation,
    normal_scores: Tensor,
    setup: AnomalySetup,
    judge: AttributeJudge,
    seed: int,
    detector_auroc: float,
    part: Part = "test",
) -> dict[str, Any]:
    """Measure an explanation of a setup's first anomalies.

    Args:
        explanation: of `setup.<part>_anomalies`, or the first few of them, in their order.
        normal_scores: (N0,) detector scores of `setup.<part>_normal`.
        setup: the images; with attributes of these anomalies.
        judge: trained on the same setup.
        seed: of the fresh concept classifier.
        detector_auroc: in %, as measured on the whole test data.
        part: "validation" to choose a recipe, "test" for the figures.

    Returns:
        JSON-compatible values under the keys of `METRICS` (all but the two of cost), lists having
        one entry a concept; besides, `normality_auroc_per_concept`, `fid_n_per_concept` and
        `fid_extractor`, the name of the features behind both FID and perceptual distance.

    Raises:
        UserError: the setup does not know the attributes of its anomalies.
        ValueError: the explanation is of other images, or of fewer than two.
    """
    result = explanation_truth(explanation, setup, judge, part)
    anomalies, edited = explanation.anomalies, explanation.counterfactuals
    normal = setup.test_normal if part == "test" else setup.validation_normal
    aurocs = normality_auroc(normal_scores, explanation.scores_after)
    features, normal_features = judge.features(anomalies), judge.features(normal)
    fids = [
        fid_n(judge.features(edited[:, k]), features, normal_features)
        for k in range(explanation.concepts)
    ]
    return {
        "detector_auroc": detector_auroc,
        "normality_auroc": _mean(aurocs),
        "normality_auroc_per_concept": aurocs,
        # All concepts together: each by itself covers only a part of what is normal.
        "fid_n": fid_n(judge.features(edited.flatten(0, 1)), features, normal_features),
        "fid_n_per_concept": fids,
        "fid_extractor": judge.extractor,
        "concept_accuracy": concept_accuracy(explanation.concept_probabilities),
        "concept_accuracy_fresh": fresh_concept_accuracy(anomalies, edited, seed),
        "validity": validity(explanation.scores_after, explanation.threshold),
        "truly_normal": result.truly_normal,
        "minimal_edit": result.minimal_edit,
        "two_reasons": result.two_reasons,
        "two_ways": result.two_ways,
        "distinct_normals": result.distinct_normals,
        "mse": mse(anomalies, edited),
        "perceptual_distance": perceptual_distance(judge.maps, anomalies, edited),
        "judge_accuracy": judge_accuracy(judge, anomalies, _true(setup, part, len(anomalies))),
    }


def explanation_truth(
    explanation: Explanation, setup: AnomalySetup, judge: AttributeJudge, part: Part = "test"
) -> Truth:
    """What the judge says of an explanation's counterfactuals, for figures and to mark pictures.

    Raises:
        UserError: the setup does not know the attributes of its anomalies.
        ValueError: the explanation is not of the setup's first anomalies.
    """
    source = setup.test_anomalies if part == "test" else setup.validation_anomalies
    n = len(explanation)
    if not torch.equal(explanation.anomalies.cpu(), source[:n].cpu()):
        raise ValueError(f"the explanation is not of the first {n} {part} anomalies of the setup")
    predicted = judge.predict(explanation.counterfactuals)
    return truth(predicted, _true(setup, part, n), setup.normal_attributes)


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
