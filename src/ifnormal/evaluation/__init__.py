"""Metrics: functions of tensors, and the facts of every figure in `metrics.json`.

Importing this package imports no torch, so that a report can be drawn from figures alone.
"""

from __future__ import annotations

from ifnormal.evaluation.acceptance import ACCEPTED_BY_ALL, VALID_AND_ACCEPTED
from ifnormal.evaluation.auroc import DETECTOR_AUROC, NORMALITY_AUROC
from ifnormal.evaluation.concepts import CONCEPT_ACCURACY, CONCEPT_ACCURACY_FRESH
from ifnormal.evaluation.distance import DIVERSITY, MSE, PERCEPTUAL_DISTANCE
from ifnormal.evaluation.fid import FID_N, KID
from ifnormal.evaluation.metric import IMAGES_PER_S, WALL_CLOCK_S, Metric
from ifnormal.evaluation.monotonicity import MONOTONICITY
from ifnormal.evaluation.substitutability import SUBSTITUTABILITY
from ifnormal.evaluation.truth import (
    DISTINCT_NORMALS,
    JUDGE_ACCURACY,
    MINIMAL_EDIT,
    TRULY_NORMAL,
    TWO_REASONS,
    TWO_WAYS,
)
from ifnormal.evaluation.validity import SECOND_DETECTOR_AGREES, VALIDITY

# In the order in which a reader meets them.
METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        DETECTOR_AUROC,
        NORMALITY_AUROC,
        FID_N,
        KID,
        CONCEPT_ACCURACY,
        CONCEPT_ACCURACY_FRESH,
        VALIDITY,
        ACCEPTED_BY_ALL,
        VALID_AND_ACCEPTED,
        SECOND_DETECTOR_AGREES,
        MONOTONICITY,
        TRULY_NORMAL,
        MINIMAL_EDIT,
        TWO_REASONS,
        TWO_WAYS,
        DISTINCT_NORMALS,
        MSE,
        PERCEPTUAL_DISTANCE,
        DIVERSITY,
        SUBSTITUTABILITY,
        JUDGE_ACCURACY,
        WALL_CLOCK_S,
        IMAGES_PER_S,
    )
}
