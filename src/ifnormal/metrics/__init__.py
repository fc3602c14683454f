"""Metrics: functions of tensors, and the facts of every figure in `metrics.json`.

Importing this package imports no torch, so that a report can be drawn from figures alone.
"""

from __future__ import annotations

from ifnormal.metrics.concept_accuracy import CONCEPT_ACCURACY, CONCEPT_ACCURACY_FRESH
from ifnormal.metrics.cost import IMAGES_PER_S, WALL_CLOCK_S
from ifnormal.metrics.distance import MSE, PERCEPTUAL_DISTANCE
from ifnormal.metrics.diversity import DIVERSITY
from ifnormal.metrics.fid import FID_N
from ifnormal.metrics.kid import KID
from ifnormal.metrics.metric import Metric
from ifnormal.metrics.monotonicity import MONOTONICITY
from ifnormal.metrics.normality_auroc import DETECTOR_AUROC, NORMALITY_AUROC
from ifnormal.metrics.second_detector import SECOND_DETECTOR_AGREES
from ifnormal.metrics.substitutability import SUBSTITUTABILITY
from ifnormal.metrics.truth import (
    DISTINCT_NORMALS,
    JUDGE_ACCURACY,
    MINIMAL_EDIT,
    TRULY_NORMAL,
    TWO_REASONS,
    TWO_WAYS,
)
from ifnormal.metrics.validity import VALIDITY

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
