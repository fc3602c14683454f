"""From the counterfactuals of any method to an `Explanation`, scored by the detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ifnormal.detectors.detector import (
    Detector,
    detector_facts,
    higher_is,
    log_odds_of,
    own_scores,
    own_threshold,
)
from ifnormal.explanation import Explanation


def answer(
    detector: Detector,
    anomalies: Tensor,
    counterfactuals: Tensor,
    names: Sequence[str],
    facts: Mapping[str, Any],
) -> Explanation:
    """An explanation without traversals, and without a word about which concept is which.

    Args:
        detector: scores both.
        anomalies: (N, C, H, W) uint8.
        counterfactuals: (N, K, C, H, W) uint8.
        names: N names.
        facts: how they were made; JSON-compatible.
    """
    count, concepts = counterfactuals.shape[:2]
    before = log_odds_of(detector, anomalies)
    after = log_odds_of(detector, counterfactuals.flatten(0, 1)).view(count, concepts)
    return Explanation(
        anomalies=anomalies,
        counterfactuals=counterfactuals,
        scores_before=before.sigmoid(),
        scores_after=after.sigmoid(),
        concept_probabilities=torch.full((count, concepts, concepts), 1 / concepts),
        threshold=detector.threshold,
        traversal_targets=torch.zeros(0),
        traversals=torch.zeros(0, concepts, 0, *anomalies.shape[1:], dtype=torch.uint8),
        traversal_scores=torch.zeros(0, concepts, 0),
        names=tuple(names),
        facts=dict(facts),
        own_scores_before=own_scores(detector, before),
        own_scores_after=own_scores(detector, after),
        own_threshold=own_threshold(detector),
        higher_is=higher_is(detector),
        detector=detector_facts(detector),
    )
