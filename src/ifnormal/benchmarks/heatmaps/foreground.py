"""Where the object is, by its contrast with the background: a baseline without a detector.

Defects lie on objects, so a useful heatmap has to tell more than this one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.benchmarks.heatmaps.heatmap import Heatmap
from ifnormal.common.pixels import to_float
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.heatmap import blurred


def _heat(detector: Detector, images: Tensor) -> Tensor:
    """Distance of each pixel from the median colour of its image, blurred."""
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
