"""Heatmap: what every method of making one offers, whatever it is made by."""

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
    """One method. A file each; see `gradient.py`.

    The units are the method's own: values may be compared with each other within one method, over
    all images that it was asked about.

    Attributes:
        name: short, as in tables of figures.
        title: what a reader sees.
        source: where it comes from.
        prepare: (normal images (N, C, H, W) uint8, seed) -> the function that makes heatmaps. Most
            need no preparation.
        applies: whether a detector is one that the method can say something about.
    """

    name: str
    title: str
    source: str
    prepare: Callable[[Tensor, int], HeatFunction]
    applies: Callable[[Detector], bool] = lambda detector: True
