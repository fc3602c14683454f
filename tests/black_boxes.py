"""Detectors that only return scores, and that notice how they are used."""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.config import FitConfig, SurrogateConfig
from ifnormal.detectors.detector import Detector
from known_detectors import KnownDetector, mean_color, tiny


class BlackBox(Detector):
    """Scores of a known detector without gradient or features, counting every image it is shown."""

    is_black_box = True

    def __init__(self, known: KnownDetector | None = None) -> None:
        self.known = known or mean_color()
        self.shape, self.threshold = self.known.shape, self.known.threshold
        self.asked = 0

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        assert not images.requires_grad
        assert torch.equal(images, (images * 255).round() / 255), "not the pixels of a saved image"
        self.asked += len(images)
        with torch.no_grad():
            return self.known.inspect(images)[0].clone(), torch.zeros(len(images), 0)


QUICK = SurrogateConfig(query_budget=400, steps=20, batch_size=16, width=4, refresh_steps=1)


def quick(**options: object) -> FitConfig:
    """A tiny fit with a tiny surrogate."""
    return tiny(**{"surrogate": QUICK, **options})
