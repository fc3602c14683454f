"""Heatmap: a method of making heatmaps, as the experiments use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from ifnormal.detectors.detector import Detector

# (detector, images (N, C, H, W) uint8) -> (N, H, W) float32 on the CPU, high where it is hot.
HeatFunction: TypeAlias = Callable[[Detector, Tensor], Tensor]


@dataclass(frozen=True)
class Heatmap:
    """One method of making heatmaps.

    Values are in units of the method and can be compared between images, but not between methods.

    Attributes:
        name: short name, as in keys of figures.
        title: name in tables.
        source: the paper that it comes from.
        prepare: (normal images (N, C, H, W) uint8, seed) -> the function that makes heatmaps.
        applies: whether the method works with a detector.
    """

    name: str
    title: str
    source: str
    prepare: Callable[[Tensor, int], HeatFunction]
    applies: Callable[[Detector], bool] = lambda detector: True
