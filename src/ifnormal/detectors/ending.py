"""Ending: the last step of an exported model that would swallow the gradient, taken off.

A clip has no gradient beyond its bounds, a sigmoid in single precision none far from 0. Both keep
the order of scores, so the model is run without and its own scores are read back through them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Ending:
    """What turns a model's raw scores into the ones that its user knows.

    Attributes:
        sigmoid: a sigmoid, before the clip.
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
    def described(self) -> str:
        """What was taken off, in words; "" where nothing was."""
        bounds = f"clip to [{_bound(self.low)}, {_bound(self.high)}]" if self._clips else ""
        return " and ".join(part for part in ("sigmoid" if self.sigmoid else "", bounds) if part)

    @property
    def _clips(self) -> bool:
        return self.low is not None or self.high is not None


def _bound(value: float | None) -> str:
    return "unbounded" if value is None else f"{value:g}"
