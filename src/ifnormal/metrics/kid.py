"""KID: do counterfactuals lie where normal images lie? Without a bias in few images, unlike FID."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifnormal.metrics.features import two_sets
from ifnormal.metrics.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

KID = Metric(
    key="kid",
    title="kernel distance (KID × 1000)",
    unit="",
    direction="lower",
    ideal=0.0,
    paper=None,
    meaning="Squared distance of counterfactuals and normal images under a cubic kernel of their "
    "features, times 1000; without bias, so that it is 0 on average for two samples of the same "
    "and may fall a little below. Figures of other features do not compare.",
    source="Bińkowski et al., ICLR 2018, section 4 (there with features of Inception)",
    in_features=True,
)

SCALE = 1000.0
_ROWS = 2048


def kid(features_a: Tensor, features_b: Tensor) -> float:
    """1000 · unbiased MMD² under the kernel (x·y / F + 1)³, about [0, ∞), less is nearer.

    Of all pairs at once, in float64, where the paper averages over subsets of 1000 to save time.
    It is no distance: negative values are possible, and for two equal sets it is below 0.

    Args:
        features_a: (N, F), N at least 2.
        features_b: (M, F), M at least 2.

    Raises:
        ValueError: the shapes do not fit, a set has fewer than 2 samples, or a feature is not
            finite.
    """
    a, b = two_sets("kid", features_a, features_b)
    n, m = len(a), len(b)
    within_a = (_kernel_sum(a, a) - _own_kernels(a)) / (n * (n - 1))
    within_b = (_kernel_sum(b, b) - _own_kernels(b)) / (m * (m - 1))
    return SCALE * (within_a + within_b - 2 * _kernel_sum(a, b) / (n * m))


def _kernel_sum(a: Tensor, b: Tensor) -> float:
    """Over all pairs, a few rows at a time: the matrix of all might not fit the memory."""
    return sum(float((part @ b.T / a.shape[1] + 1).pow(3).sum()) for part in a.split(_ROWS))


def _own_kernels(a: Tensor) -> float:
    return float((a.square().sum(1) / a.shape[1] + 1).pow(3).sum())
