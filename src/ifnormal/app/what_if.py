"""Scores and edits of one image, as functions of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import quantize, to_float
from ifnormal.detectors.detector import Detector, log_odds_of
from ifnormal.explainers.explainer import Explainer


@dataclass(frozen=True)
class Scored:
    """One image and its score.

    Attributes:
        image: (C, H, W) uint8, the pixels that were scored.
        score: in [0, 1], 1 is anomalous.
        own_score: the same score in the detector's own units.
        flagged: whether the score is above the threshold.
    """

    image: Tensor
    score: float
    own_score: float
    flagged: bool


@dataclass(frozen=True)
class Units:
    """How to read a score in the detector's own units.

    Attributes:
        threshold: the decision threshold.
        higher_is: what a score above the threshold means, "anomalous" or "normal".
    """

    threshold: float
    higher_is: str


def units(detector: Detector) -> Units:
    """The detector's own units."""
    return Units(detector.own_threshold, detector.higher_is)


def scored(detector: Detector, images: Tensor) -> list[Scored]:
    """Score (N, C, H, W) uint8 images."""
    log_odds = log_odds_of(detector, images)
    scores, own = log_odds.sigmoid().tolist(), detector.own_units(log_odds).tolist()
    return [
        Scored(image, score, own_score, score > detector.threshold)
        for image, score, own_score in zip(images, scores, own, strict=True)
    ]


def edit(explainer: Explainer, image: Tensor, target: float, concept: int) -> Scored:
    """Make G(x, α, k) of one (C, H, W) uint8 image and score it.

    Raises:
        UserError: α is not in [0, 1], or there is no concept k.
    """
    if not 0 <= target <= 1:
        raise UserError(f"The target score must lie between 0 and 1, not {target}.")
    if concept not in range(explainer.concepts):
        raise UserError(
            f"There is no concept {concept}; choose one of 0 to {explainer.concepts - 1}."
        )
    edited = quantize(explainer.edit(to_float(image[None]), target, concept))
    return scored(explainer.detector, edited)[0]


def edit_in_all_concepts(explainer: Explainer, image: Tensor) -> list[Scored]:
    """Make and score G(x, 0, k) of one (C, H, W) uint8 image for every concept k."""
    floats = to_float(image[None])
    edits, _ = explainer.editor.counterfactuals(floats, torch.zeros(0), torch.zeros(0))
    return scored(explainer.detector, edits[0])
