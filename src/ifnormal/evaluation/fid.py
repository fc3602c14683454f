"""FID and its normalised form: do counterfactuals lie where normal images lie?

Figures of different feature extractors must not be compared, so each is reported with the name of
its extractor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ifnormal.evaluation.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

FID_N = Metric(
    key="fid_n",
    title="normalised FID",
    unit="%",
    direction="nearer",
    ideal=None,
    # The paper's 56 is of Inception features; ours are the judge's, so the two do not compare.
    paper=56.0,
    meaning="Distance of the counterfactuals from normal images, as a share of the anomalies' own "
    "distance: below 100 they came closer; near 0 they would have thrown the anomaly away. The "
    "paper's figure is of another feature extractor and does not compare.",
    source="Heusel et al., NeurIPS 2017; normalised as in Liznerski, Varshneya et al., AAAI 2026, "
    "arXiv 2402.14469, section 4",
    in_features=True,
)


def fid(features_a: Tensor, features_b: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features, [0, ∞), less is nearer.

    |μa − μb|² + tr Σa + tr Σb − 2 tr (Σa Σb)^½, computed in float64. With the centred features
    factored as Q R, Σ = RᵀR, and the last trace is the sum of the singular values of Ra Rbᵀ: no
    matrix square root is taken, so fewer samples than features do no harm.

    Args:
        features_a: (N, F), N at least 2.
        features_b: (M, F), M at least 2.

    Raises:
        ValueError: the shapes do not fit, a set has fewer than 2 samples, or a feature is not
            finite.
    """
    import torch

    a, b = two_sets("fid", features_a, features_b)
    mean_a, mean_b = a.mean(0), b.mean(0)
    root_a, root_b = (
        torch.linalg.qr((x - mean) / (len(x) - 1) ** 0.5, mode="r").R
        for x, mean in ((a, mean_a), (b, mean_b))
    )
    shared = torch.linalg.svdvals(root_a @ root_b.T).sum()
    distance = (mean_a - mean_b).square().sum() + root_a.square().sum() + root_b.square().sum()
    return max(0.0, float(distance - 2 * shared))


def fid_n(
    counterfactual_features: Tensor, anomaly_features: Tensor, normal_features: Tensor
) -> float:
    """100 · FID(counterfactuals, normal) / FID(anomalies, normal), in %, [0, ∞); 50 to 100 is good.

    Args:
        counterfactual_features: (N, F) features of one concept's counterfactuals.
        anomaly_features: (N, F) features of the anomalies they explain.
        normal_features: (M, F) features of normal test images.

    Raises:
        ValueError: see `fid`; or anomalies and normal images have the same features.
    """
    reference = fid(anomaly_features, normal_features)
    if reference == 0:
        raise ValueError("FID_N has no meaning: anomalies and normal images have equal features")
    return 100 * fid(counterfactual_features, normal_features) / reference


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


class Features(Protocol):
    """Whatever turns images into features; an `AttributeJudge` and a `SecondOpinion` do.

    Images come in as (..., C, H, W) uint8, with any leading shape, which is flattened to N.
    """

    @property
    def extractor(self) -> str:
        """The name of the features, without which no figure of them means anything."""
        ...

    def features(self, images: Tensor) -> Tensor:
        """(N, F) float32 on the CPU."""
        ...

    def maps(self, images: Tensor) -> Sequence[Tensor]:
        """Feature maps of one batch, (N, C', H', W') each, none negative."""
        ...


def two_sets(metric: str, features_a: Tensor, features_b: Tensor) -> tuple[Tensor, Tensor]:
    """Two sets of features, (N, F) and (M, F), as float64 without a gradient.

    Raises:
        ValueError: the metric of that name has no meaning for them: the shapes do not fit, a set
            has fewer than 2 samples, or a feature is not finite.
    """
    import torch

    if features_a.ndim != 2 or features_a.shape[1:] != features_b.shape[1:]:
        raise ValueError(
            f"{metric} needs (N, F) and (M, F), got {features_a.shape}, {features_b.shape}"
        )
    if min(len(features_a), len(features_b)) < 2:
        raise ValueError(f"{metric} needs at least 2 samples in each set")
    a, b = features_a.detach().double(), features_b.detach().double()
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise ValueError(f"{metric} needs finite features")
    return a, b
