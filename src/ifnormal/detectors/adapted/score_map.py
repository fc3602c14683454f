"""ScoreMap: scores in a user's units to calibrated log-odds and back."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ifnormal.explanation.entries import HigherIs

# Log-odds up to about here stay nearly linear in the score; beyond, they grow with its logarithm.
_BEND = 3.0
# Below the spacing of float32 next to 1, so that the logit of exactly 0 or 1 is finite.
_TINY = 1e-7
_ANCHOR, _MEDIAN_ALONE, _HIGH_QUANTILE = 3.0, -2.2, 0.95


@dataclass(frozen=True)
class ScoreMap:
    """A smooth, strictly monotone map from own scores to log-odds, with a gradient everywhere.

    It has three steps, in double precision: the logit where the scores are probabilities, a change
    of sign where a high score means normal, and bend · asinh((x − shift) / scale). The last step is
    linear near the normal scores, and logarithmic far from them, where a sigmoid would be flat.

    Attributes:
        shift: the value after the first two steps that gets log-odds 0.
        scale: the distance from `shift` at which the map begins to bend.
        probabilities: the model's scores are probabilities.
        higher_is: what a high score of the model means.
    """

    shift: float = 0.0
    scale: float = _BEND
    probabilities: bool = False
    higher_is: HigherIs = "anomalous"

    def __call__(self, own: Tensor) -> Tensor:
        """Log-odds, in double precision, of scores in the user's own units, of any shape."""
        return _BEND * ((self._oriented(own) - self.shift) / self.scale).asinh()

    def inverse(self, log_odds: Tensor) -> Tensor:
        """Scores in the user's own units, in double precision, of log-odds of any shape."""
        oriented = (_exact(log_odds) / _BEND).sinh() * self.scale + self.shift
        oriented = oriented if self.higher_is == "anomalous" else -oriented
        return _unlogit(oriented) if self.probabilities else oriented

    def _oriented(self, own: Tensor) -> Tensor:
        scores = _logit(_exact(own)) if self.probabilities else _exact(own)
        return scores if self.higher_is == "anomalous" else -scores


def _exact(values: Tensor) -> Tensor:
    """In double precision, except on Apple's devices, which have none."""
    return values.float() if values.device.type == "mps" else values.double()


def _logit(p: Tensor) -> Tensor:
    # Linear beyond [0, 1], for the model whose scores only looked like probabilities.
    inside = p.clamp(0, 1)
    odds = ((inside + _TINY) / (1 - inside + _TINY)).log()
    return odds + (p - inside) * (1 / _TINY + 1 / (1 + _TINY))


def _unlogit(odds: Tensor) -> Tensor:
    end = math.log((1 + _TINY) / _TINY)
    inside = odds.clamp(-end, end)
    p = inside.sigmoid() * (1 + 2 * _TINY) - _TINY
    return p + (odds - inside) / (1 / _TINY + 1 / (1 + _TINY))


def fit_score_map(
    normal: Tensor,
    outliers: Tensor | None,
    higher_is: HigherIs = "anomalous",
    probabilities: bool = False,
) -> ScoreMap:
    """Fit the map on a model's own scores (N,) of normal images, and of outliers where given.

    With outliers the median normal image gets log-odds −3 (score 0.05) and the median outlier +3
    (0.95); without, or where the model scores outliers no higher, the median normal image −2.2
    (0.1) and the 95th percentile of the normal images 0 (0.5).
    """
    map_ = ScoreMap(probabilities=probabilities, higher_is=higher_is)
    oriented = map_._oriented(normal)
    middle = oriented.median()
    if outliers is not None and len(outliers):
        fitted = _through(map_, middle, -_ANCHOR, map_._oriented(outliers).median(), _ANCHOR)
        if fitted is not None:
            return fitted
    high = oriented.quantile(_HIGH_QUANTILE)
    fitted = _through(map_, middle, _MEDIAN_ALONE, high, 0.0)
    if fitted is not None:
        return fitted
    # All normal images have the same score, which gives no scale; take the size of that score.
    step = max(float(middle.abs()), 1.0)
    return _through(map_, middle, _MEDIAN_ALONE, middle + step, 0.0) or map_


def _through(
    map_: ScoreMap, low: Tensor, low_value: float, high: Tensor, high_value: float
) -> ScoreMap | None:
    """The map through two points (score, log-odds); None where the scores do not increase."""
    low_bent, high_bent = math.sinh(low_value / _BEND), math.sinh(high_value / _BEND)
    scale = float(high - low) / (high_bent - low_bent)
    if not scale > 1e-12 * max(1e-30, float(low.abs()), float(high.abs())):
        return None
    return replace(map_, shift=float(low) - low_bent * scale, scale=scale)


def look_like_probabilities(scores: Tensor) -> bool:
    """Whether scores (N,) of very different images all lie in [0, 1] and come near its ends.

    Distances and errors may lie in [0, 1] too, but they have no reason to come near 1.
    """
    return bool((scores >= 0).all() and (scores <= 1).all() and scores.max() > 0.9)


def to_score(log_odds: Tensor) -> float:
    """One log-odds value as a score in [0, 1], in double precision."""
    return float(torch.sigmoid(log_odds.double()))
