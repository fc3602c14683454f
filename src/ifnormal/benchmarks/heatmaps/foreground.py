"""Where the thing is, by its contrast with the ground: no detector, and no anomaly either.

Defects lie on things. What a heatmap is worth is what it knows beyond that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.benchmarks.heatmaps.heatmap import Heatmap
from ifnormal.common.pixels import to_float
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.heatmap import blurred


def _heat(detector: Detector, images: Tensor) -> Tensor:
    """Each pixel's distance from its image's median colour, blurred."""
    if not len(images):
        return torch.zeros(0, *images.shape[2:])
    floats = to_float(images.cpu())
    ground = floats.flatten(2).median(2).values[..., None, None]
    return blurred((floats - ground).abs().mean(1))


FOREGROUND = Heatmap(
    name="foreground",
    title="where the thing is, no detector",
    source="ifnormal: what a heatmap has to surpass",
    prepare=lambda normal, seed: _heat,
)
