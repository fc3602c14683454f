"""ScoreModel: what an adapter makes of a user's model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.detectors.fingerprint import file_digest
from ifnormal.explanation.entries import HigherIs

InputShape = tuple[int | None, int | None, int | None]
Scoring = Callable[[Tensor], tuple[Tensor, Tensor | None]]


class ScoreModel(nn.Module):
    """A user's model in one form: preprocessed images in, scores in its own units out.

    Args:
        scoring: (N, C, H, W) images to (N,) scores and, where they are known, (N, F) features.
        name: of the adapter.
        spec: what the user typed; "" for a Python object.
        module: the network that computes the scores, if any, to be frozen and moved to a device.
        black_box: it only returns scores, without a gradient.
        higher_is: what a high score means.
        threshold: the model's own threshold, in its own units, if it has one.
        input_shape: (C, H, W) the model takes; None is any.
        file: the file it was read from.
        more_files: names of further files beside it that belong to it.
        reference: the same scores from another engine, for comparison, in the user's own units.
        activation: what turns the scores of `scoring` into those that the user knows.
        facts: what is saved about it; JSON-compatible.

    Attributes:
        scored: the number of images it was given so far, each of which is a query.
    """

    def __init__(
        self,
        scoring: Scoring,
        name: str,
        *,
        spec: str = "",
        module: nn.Module | None = None,
        black_box: bool = False,
        higher_is: HigherIs = "anomalous",
        threshold: float | None = None,
        input_shape: InputShape = (None, None, None),
        file: Path | None = None,
        more_files: tuple[str, ...] = (),
        reference: Callable[[Tensor], Tensor] | None = None,
        activation: OutputActivation | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.scoring, self.name, self.spec, self.module = scoring, name, spec, module
        self.black_box, self.higher_is, self.threshold = black_box, higher_is, threshold
        self.input_shape, self.file, self.more_files = input_shape, file, more_files
        self.reference = reference
        self.activation, self.facts = activation or OutputActivation(), facts or {}
        self.scored = 0
        self.features: str | None = None  # how the user named them, to be found again
        if module is not None:
            module.eval()

    @cached_property
    def sha256(self) -> str | None:
        """The hash of its files when it was first asked for; None where it has none."""
        return None if self.file is None else file_digest(self.file, self.more_files)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores (N,) before the activation, and features (N, F) if any, in the model's dtype."""
        self.scored += len(images)
        with torch.autocast(images.device.type, enabled=False):
            return self.scoring(images)


@dataclass(frozen=True)
class OutputActivation:
    """A sigmoid and a clip at the end of a model, which are left out while explaining.

    Both can remove the gradient of a score. The score without them is called raw.

    Attributes:
        sigmoid: there is a sigmoid, before the clip.
        low: of the clip; None is no bound.
        high: of the clip; None is no bound.
    """

    sigmoid: bool = False
    low: float | None = None
    high: float | None = None

    def __call__(self, raw: Tensor) -> Tensor:
        """Raw scores of any shape in the user's own units."""
        scores = raw.sigmoid() if self.sigmoid else raw
        if self.low is None and self.high is None:
            return scores
        return scores.clamp(self.low, self.high)

    def inverse(self, own: float) -> float:
        """One score in the user's own units as a raw one."""
        if not self.sigmoid:
            return own
        own = min(max(own, 1e-12), 1 - 1e-12)
        return math.log(own) - math.log1p(-own)

    @property
    def description(self) -> str:
        """The activation in words; "" where there is none."""
        bounds = f"clip to [{_bound(self.low)}, {_bound(self.high)}]" if self._clips else ""
        return " and ".join(part for part in ("sigmoid" if self.sigmoid else "", bounds) if part)

    @property
    def _clips(self) -> bool:
        return self.low is not None or self.high is not None


def _bound(value: float | None) -> str:
    return "unbounded" if value is None else f"{value:g}"
