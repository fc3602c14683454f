"""The detector's own heatmap."""

from __future__ import annotations

from torch import Tensor

from ifnormal.benchmarks.heatmaps.heatmap import Heatmap
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.heatmap import own_heatmaps


def _heat(detector: Detector, images: Tensor) -> Tensor:
    heat = own_heatmaps(detector, images)
    if heat is None:
        raise ValueError("the detector has no heatmap of its own")
    return heat


OWN = Heatmap(
    name="own",
    title="the detector's own",
    source="Liznerski et al., ICLR 2021, arXiv 2007.01760",
    prepare=lambda normal, seed: _heat,
    applies=lambda detector: detector.heatmap is not None,
)
