"""The input gradient as a heatmap."""

from __future__ import annotations

from torch import Tensor

from ifnormal.benchmarks.heatmaps.heatmap import Heatmap
from ifnormal.common.errors import UserError
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.heatmap import input_gradients


def _heat(detector: Detector, images: Tensor) -> Tensor:
    heat = input_gradients(detector, images)
    if heat is None:
        raise UserError("The detector's scores have no gradient; choose another heatmap.")
    return heat


GRADIENT = Heatmap(
    name="gradient",
    title="input gradient",
    source="Simonyan et al. 2014, arXiv 1312.6034",
    prepare=lambda normal, seed: _heat,
    applies=lambda detector: not detector.is_black_box,
)
