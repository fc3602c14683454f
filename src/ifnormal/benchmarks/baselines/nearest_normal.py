"""The nearest normal training images in place of edits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.detector import Detector, batch_size_for, device_of
from ifnormal.explainers.scored_edits import answer
from ifnormal.explanation.explanation import Explanation

_AT_ONCE = 256


def nearest_normal(
    detector: Detector, anomalies: Tensor, normal: Tensor, names: Sequence[str], concepts: int = 1
) -> Explanation:
    """The K normal training images whose features are nearest to those of each anomaly.

    Identical images count once. Normal images that the detector flags are not left out; they are
    invalid counterfactuals.

    Args:
        detector: Euclidean distances are those of its features.
        anomalies: (N, C, H, W) uint8.
        normal: (M, C, H, W) uint8, at least K different ones.
        names: N names.
        concepts: K.

    Raises:
        UserError: there are fewer than K different normal images.
    """
    distinct = torch.unique(normal.flatten(1), dim=0).view(-1, *normal.shape[1:])
    if len(distinct) < concepts:
        raise UserError(
            f"There are {len(distinct)} different normal images for {concepts} concepts; "
            "give more of them or lower concepts."
        )
    known, asked = _features(detector, distinct), _features(detector, anomalies)
    nearest = [
        torch.cdist(part, known).topk(concepts, largest=False).indices
        for part in asked.split(_AT_ONCE)
    ]
    found = distinct[torch.cat(nearest)] if nearest else distinct[:0][:, None]
    facts = {"method": "nearest normal training images in the detector's features"}
    return answer(detector, anomalies, found, names, facts)


@torch.no_grad()
def _features(detector: Detector, images: Tensor) -> Tensor:
    """(N, F) on the CPU."""
    device = device_of(detector)
    parts = [
        detector.inspect(to_float(part).to(device))[1].float().cpu()
        for part in images.split(batch_size_for(images))
    ]
    return torch.cat(parts)
