"""Contamination: how many of the images that were given as normal are anomalous.

It is estimated from anomaly scores alone, as in Perini, Bürkner, Klami, "Estimating the
Contamination Factor's Distribution in Unsupervised Anomaly Detection", ICML 2023, with two
differences. Their prior excludes a clean data set (p0 = 0.01, section 3.3); here one is as likely
as not. And which part of a mixture of Gaussians is anomalous is not asked: scores of normal images
have one mode with tails of different lengths, those of anomalies lie clearly beyond it. It is the
two-groups model of Efron, "Large-Scale Simultaneous Hypothesis Testing: The Choice of a Null
Hypothesis", JASA 2004: the left half of the scores, where there are no anomalies, tells what is
normal, and what is too many on the right is anomalous.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t

from ifnormal.common.errors import UserError

LEAST_IMAGES = 20

Array = NDArray[np.float64]

_INTERVAL = 0.9
# A grid of all parameters, and their priors. They were chosen on folders of clean images: digits,
# animals, printed circuits, solar cells and road signs; see studies/contamination.py.
_SHARES = np.concatenate([[0.0], np.geomspace(0.0025, 0.5, 33)])
_CLEAN = 0.4
_FEW = 10.0  # the density of log-shares is proportional to (1 − share)^10
_RATIOS = np.linspace(0.6, 2.4, 10)  # of the right width of normal scores to the left one
_USUAL_RATIO, _RATIO_SPREAD = 1.1, 0.25
_FREEDOM = 8.0  # of the Student distribution on the right, as clean folders have long tails
_MEANS = np.geomspace(2.5, 20, 8)  # of anomalies, in right widths from the mode
_SPREADS = np.array([0.25, 0.5])  # their deviation, as a share of their mean
_LOWEST, _FARTHEST = -6.0, 20.0  # further out nothing changes
_BELOW = 0.158655  # of a Gaussian, one deviation below the mean


@dataclass(frozen=True)
class Contamination:
    """How many of N images that were given as normal do not look normal.

    Attributes:
        share: the mean of the probabilities, in [0, 1].
        low, high: a 90 % interval for the share of images that look anomalous to the detectors.
        probabilities: (N,) of each image, that it is anomalous.
        suspects: the images that are more likely anomalous than not, the most anomalous first.
    """

    share: float
    low: float
    high: float
    probabilities: tuple[float, ...]
    suspects: tuple[int, ...]


def estimate_contamination(scores: ArrayLike) -> Contamination:
    """Estimate how many images are anomalous, from the scores of one or more detectors.

    Anomalies that the detectors cannot tell from normal images cannot be counted either: the
    estimate is of images that do not look normal to them.

    Args:
        scores: (N,) or (N, M), high for anomalies; of detectors that were not fitted to the image.

    Raises:
        UserError: there are fewer than 20 images, or a third of them have the same scores.
    """
    z = combined(scores)
    log_weights = np.empty((len(_SHARES), len(_RATIOS)))
    anomalous = np.empty((*log_weights.shape, len(z)))
    for place in np.ndindex(log_weights.shape):
        share, ratio = _SHARES[place[0]], _RATIOS[place[1]]
        log_weights[place], anomalous[place] = _given(z, float(share), float(ratio))
    log_weights += _log_prior()
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    each = np.tensordot(weights, anomalous, 2)
    # An image farther out is never less likely anomalous.
    order = np.argsort(z, kind="stable")
    each[order] = np.maximum.accumulate(each[order])
    of_share = weights.sum(1)
    ends = np.searchsorted(of_share.cumsum(), [(1 - _INTERVAL) / 2, (1 + _INTERVAL) / 2])
    low, high = _SHARES[np.minimum(ends, len(_SHARES) - 1)].tolist()
    suspects = [row for row in order[::-1].tolist() if each[row] > 0.5]
    share = float(np.clip(each.mean(), low, high))
    return Contamination(share, low, high, tuple(each.tolist()), tuple(suspects))


def known_contamination(scores: ArrayLike, share: float) -> Contamination:
    """The most anomalous images, where their share in [0, 0.5] is known.

    Raises:
        UserError: as `estimate_contamination`.
    """
    z = combined(scores)
    suspects = tuple(np.argsort(-z, kind="stable")[: round(share * len(z))].tolist())
    probabilities = np.zeros(len(z))
    probabilities[list(suspects)] = 1.0
    return Contamination(share, share, share, tuple(probabilities.tolist()), suspects)


def require_enough(images: int) -> None:
    """Raise a UserError where there are fewer than 20 images."""
    if images < LEAST_IMAGES:
        raise UserError(
            f"How many images are not normal is estimated from at least {LEAST_IMAGES} images, "
            f"not {images}; give more."
        )


def combined(scores: ArrayLike) -> Array:
    """One score (N,) of the scores (N, M) of M detectors: the mean of standardised scores.

    Zero is the median and −1 the quantile that is one standard deviation below it in a Gaussian.
    The half below the median is used because anomalies hardly change it. Scores that are all
    positive, such as distances, are compared by their logarithms.
    """
    rows = np.asarray(scores, np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    require_enough(len(rows))
    rows = np.where((rows > 0).all(0), np.log(np.maximum(rows, 1e-300)), rows)
    middle, lower = np.median(rows, 0), np.quantile(rows, _BELOW, axis=0)
    if not (lower < middle).all():
        raise UserError(
            "A third of the images have the same anomaly score, so that it cannot be told which "
            "are normal; leave out copies of the same image."
        )
    return np.minimum((rows - middle) / (middle - lower), _FARTHEST).mean(1)


def _log_prior() -> Array:
    """Of the grid of shares and ratios, up to a constant."""
    of_share = (1 - _SHARES[1:]) ** _FEW
    shares = np.concatenate([[_CLEAN], (1 - _CLEAN) * of_share / of_share.sum()])
    ratios = -0.5 * (np.log(_RATIOS / _USUAL_RATIO) / _RATIO_SPREAD) ** 2
    return np.log(shares)[:, None] + ratios


def _given(z: Array, share: float, ratio: float) -> tuple[float, Array]:
    """The log-likelihood of scores (N,), and how likely each image is anomalous (N,).

    Mode and left width of normal scores follow from two quantiles, as no anomaly is on the left.
    """
    left = 1 / (1 + ratio)  # the share of normal scores on the left of the mode
    mode, lower = np.quantile(z, [(1 - share) * left, (1 - share) * 2 * left * _BELOW])
    width = max(mode - lower, 1e-9)
    apart = np.maximum((z - mode) / width, _LOWEST)
    density = np.where(apart < 0, _gaussian(apart), _student(apart / ratio))
    normal = (1 - share) * 2 * left * density
    means = ratio * _MEANS[:, None, None]
    spreads = means * _SPREADS[:, None]
    odd = (
        share * _gaussian((apart - means) / spreads) / spreads * (apart > 0)
    )  # (means, spreads, N)
    total = normal + odd
    likelihoods = np.log(total).sum(2) - len(z) * np.log(width)
    highest = likelihoods.max()
    weights = np.exp(likelihoods - highest)
    each = np.tensordot(weights, odd / total, 2) / weights.sum()
    return float(highest + np.log(weights.mean())), each


def _gaussian(x: Array) -> Array:
    return np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)


def _student(x: Array) -> Array:
    """The density of the Student distribution."""
    return t.pdf(0, _FREEDOM) * (1 + x**2 / _FREEDOM) ** (-(_FREEDOM + 1) / 2)
