"""Explainers small enough for tests, one of a detector that is saved with it."""

from __future__ import annotations

from functools import cache

import torch

from ifnormal.config import DetectorConfig
from ifnormal.detectors import OBJECTIVES
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.detector import in_batches
from ifnormal.explainers.explainer import Explainer
from known_detectors import COLOR, blue, mean_color, red, tiny


@cache
def color_explainer(steps: int = 16) -> Explainer:
    """Explains why red is flagged; with more steps it edits well, with few at least something."""
    torch.manual_seed(0)
    config = tiny(steps=steps, learning_rate=0.02)
    return Explainer(mean_color(), config).fit(blue(), red(), seed=0)


@cache
def built_in_explainer() -> Explainer:
    """Of a built-in detector that has not learnt anything."""
    torch.manual_seed(0)
    detector = TrainedDetector(OBJECTIVES["bce"], DetectorConfig(width=8), COLOR).freeze()
    normal, outliers = sorted(
        (blue(), red()), key=lambda images: in_batches(detector, images).median().item()
    )
    return Explainer(detector, tiny(steps=2)).fit(normal, outliers, seed=5)
