"""Heatmaps to compare counterfactuals with, one method per file."""

from __future__ import annotations

from ifnormal.benchmarks.heatmaps.attribution import GRAD_CAM, INTEGRATED_GRADIENTS
from ifnormal.benchmarks.heatmaps.autoencoder import AUTOENCODER
from ifnormal.benchmarks.heatmaps.foreground import FOREGROUND
from ifnormal.benchmarks.heatmaps.gradient import GRADIENT
from ifnormal.benchmarks.heatmaps.heatmap import HeatFunction, Heatmap
from ifnormal.benchmarks.heatmaps.own import OWN

# In the order of tables.
HEATMAPS: dict[str, Heatmap] = {
    heatmap.name: heatmap
    for heatmap in (OWN, GRADIENT, INTEGRATED_GRADIENTS, GRAD_CAM, AUTOENCODER, FOREGROUND)
}

__all__ = ["HEATMAPS", "HeatFunction", "Heatmap"]
