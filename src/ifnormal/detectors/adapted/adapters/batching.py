"""Batches for models that were exported for some number of images only."""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.detectors.adapted.score_model import Scoring


def in_batches_of(scoring: Scoring, least: int, most: int | None) -> Scoring:
    """The same scoring for any number of images, given to it `least` to `most` at a time.

    What is missing to `least` is filled up with the last image, whose scores are dropped.
    """

    def scored(images: Tensor) -> tuple[Tensor, Tensor | None]:
        scores, features = [], []
        for part in images.split(most or max(1, len(images))):
            count = len(part)
            if count < least:
                part = torch.cat([part, part[-1:].expand(least - count, *part.shape[1:])])
            found, feature = scoring(part)
            scores.append(found[:count])
            if feature is not None:
                features.append(feature[:count])
        return torch.cat(scores), torch.cat(features) if features else None

    return scored


def takes_batches(scoring: Scoring, images: Tensor) -> bool:
    """Whether (N, C, H, W) images, N even, score the same together as in two halves."""
    half = len(images) // 2
    with torch.no_grad():
        halves = torch.cat([scoring(part)[0] for part in images.split(half)])
        try:
            together, _ = scoring(images)
        except Exception:  # whatever a graph made for one number of images does with another
            return False
    return together.shape == halves.shape and torch.allclose(together, halves, 1e-4, 1e-5)
