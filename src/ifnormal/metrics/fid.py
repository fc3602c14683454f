"""FID and its normalised form: do counterfactuals lie where normal images lie?

Figures of different feature extractors must not be compared, so each is reported with the name of
its extractor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifnormal.metrics.features import two_sets
from ifnormal.metrics.metric import Metric

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
