"""Batches for models that were exported for certain numbers of images."""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.detectors.adapted.score_model import Scoring


def in_batches_of(scoring: Scoring, least: int, most: int | None) -> Scoring:
    """The same scoring for any number of images, which it is given `least` to `most` at a time.

    A batch of fewer than `least` is padded with its last image; the scores of padding are dropped.
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
    """Whether N images, N even, get the same scores in one batch as in two halves."""
    half = len(images) // 2
    with torch.no_grad():
        halves = torch.cat([scoring(part)[0] for part in images.split(half)])
        try:
            together, _ = scoring(images)
        except Exception:  # whatever a graph made for one number of images does with another
            return False
    return together.shape == halves.shape and torch.allclose(together, halves, 1e-4, 1e-5)
