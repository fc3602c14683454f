"""From the counterfactuals of any method to an `Explanation`, scored by the detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ifnormal.detectors.detector import Detector
from ifnormal.explaining import ScoredEdits, explanation_of
from ifnormal.explanation.explanation import Explanation


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
    scored = ScoredEdits.by(detector, anomalies, counterfactuals)
    return explanation_of(detector, scored, names, facts, with_heatmaps=False)
