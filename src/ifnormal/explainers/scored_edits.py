"""From edits and the scores that a detector gives them to an Explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.data.files.image_input import ImageInput, as_images
from ifnormal.detectors.detector import (
    Detector,
    log_odds_of,
)
from ifnormal.explainers.heatmap import heatmap_source, heatmaps
from ifnormal.explanation.explanation import Explanation


def anomalies_of(
    given: ImageInput, names: Sequence[str] | None, shape: tuple[int, int, int]
) -> tuple[Tensor, tuple[str, ...]]:
    """Images to explain, (N, C, H, W) uint8, and N names: those given, their paths or numbers.

    Raises:
        UserError: there are no images, or not of the detector's shape.
    """
    images, known = as_images(given, shape)
    if len(images) == 0:
        raise UserError("There are no images to explain; give at least one.")
    return images, known if names is None else tuple(names)


@dataclass(frozen=True, eq=False)
class ScoredEdits:
    """N anomalies and K edits of each, with the log-odds that a detector gives.

    Attributes:
        anomalies: (N, C, H, W) uint8.
        edits: (N, K, C, H, W) uint8.
        traversals: (M, K, T, C, H, W) uint8, of the first M anomalies.
        targets: (T,) targets of the traversals, as shares of the anomaly's own score.
        log_odds: (N,) of the anomalies.
        log_odds_after: (N, K) of the edits.
        log_odds_along: (M, K, T) of the traversals.
        concept_probabilities: (N, K, K), the probability of each concept for each edit.
    """

    anomalies: Tensor
    edits: Tensor
    traversals: Tensor
    targets: Tensor
    log_odds: Tensor
    log_odds_after: Tensor
    log_odds_along: Tensor
    concept_probabilities: Tensor

    @classmethod
    def by(
        cls,
        detector: Detector,
        anomalies: Tensor,
        edits: Tensor,
        traversals: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> ScoredEdits:
        """Score edits of which nobody says which concept is which."""
        count, concepts = edits.shape[:2]
        if traversals is None or targets is None:
            targets = torch.zeros(0)
            traversals = edits.new_zeros(0, concepts, 0, *anomalies.shape[1:])
        return cls(
            anomalies,
            edits,
            traversals,
            targets,
            log_odds_of(detector, anomalies),
            log_odds_of(detector, edits.flatten(0, 1)).view(count, concepts),
            log_odds_of(detector, traversals.flatten(0, 2)).view(traversals.shape[:3])
            if traversals.numel()
            else torch.zeros(traversals.shape[:3]),
            torch.full((count, concepts, concepts), 1 / concepts),
        )


def explanation_of(
    detector: Detector,
    scored: ScoredEdits,
    names: Sequence[str],
    facts: Mapping[str, Any],
    guide: Detector | None = None,
    with_heatmaps: bool = True,
) -> Explanation:
    """The explanation that these edits are, in the detector's own units too.

    Args:
        detector: what is explained.
        scored: the edits.
        names: N names.
        facts: what made them; JSON-compatible.
        guide: the surrogate of a black box, for its heatmaps.
        with_heatmaps: whether to make any.
    """
    before, after = scored.log_odds, scored.log_odds_after
    along = scored.log_odds_along
    about_heat = {"heatmap": heatmap_source(detector)} if with_heatmaps else {}
    return Explanation(
        anomalies=scored.anomalies,
        counterfactuals=scored.edits,
        calibrated_scores_before=before.sigmoid(),
        calibrated_scores_after=after.sigmoid(),
        concept_probabilities=scored.concept_probabilities,
        calibrated_threshold=detector.threshold,
        traversal_targets=scored.targets,
        traversals=scored.traversals,
        calibrated_traversal_scores=along.sigmoid(),
        names=tuple(names),
        facts={**facts, **about_heat},
        own_scores_before=detector.own_units(before),
        own_scores_after=detector.own_units(after),
        own_traversal_scores=detector.own_units(along),
        own_threshold=detector.own_threshold,
        higher_is=detector.higher_is,
        detector=dict(detector.facts),
        heatmaps=heatmaps(detector, scored.anomalies, guide) if with_heatmaps else None,
    )


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
