"""Surrogate: a differentiable network that imitates a detector without a gradient."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from ifnormal.detectors.builtin.backbone import Backbone
from ifnormal.detectors.detector import Detector


class Surrogate(nn.Module, Detector):
    """A differentiable detector that imitates a black box.

    It holds two copies of one network. `scorer` is trained further while a generator is fitted;
    `reader` stays as it was after the first distillation and gives the features, so that what was
    computed from features (normal modes, statistics, training images) stays valid.

    Attributes:
        shape: (C, H, W) of the images it takes, float in [0, 1].
        threshold: the black box's own.
    """

    def __init__(
        self, scorer: nn.Module, reader: nn.Module, shape: tuple[int, int, int], threshold: float
    ) -> None:
        super().__init__()
        self.scorer, self.reader = scorer, reader
        self.shape, self.threshold = shape, threshold

    @classmethod
    def create(cls, shape: tuple[int, int, int], width: int, threshold: float) -> Surrogate:
        """A frozen one with random weights, drawn from torch's global generator."""
        scorer = Backbone(shape, width, 1, True)
        scorer = scorer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        surrogate = cls(scorer, deepcopy(scorer), shape, threshold)
        return surrogate.eval().requires_grad_(False)

    def as_distilled(self) -> Surrogate:
        """The surrogate after the first distillation: the reader gives scores as well."""
        return Surrogate(self.reader, self.reader, self.shape, self.threshold)

    def copy_scorer_to_reader(self) -> None:
        """Make the features those of the current scorer."""
        self.reader.load_state_dict(self.scorer.state_dict())

    def log_odds(self, images: Tensor) -> Tensor:
        """(N,) log-odds in the black box's calibrated units, of (N, C, H, W) images in [0, 1]."""
        outputs: Tensor = self.scorer(images)[0]
        return outputs[:, 0].float()

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (N,) by the scorer and penultimate features (N, 128) by the reader, float32."""
        outputs, features = self.scorer(images)
        if self.reader is not self.scorer:
            features = self.reader(images)[1]
        return outputs[:, 0].float(), features.float()

    def forward(self, images: Tensor) -> Tensor:
        """Scores (N,) in [0, 1] of (N, C, H, W) images in [0, 1]."""
        return self.log_odds(images).sigmoid()
