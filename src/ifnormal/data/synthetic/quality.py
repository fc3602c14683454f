"""How good outliers are to learn from: the expected anomaly posterior (EAP).

Perini, Rudolph, Schmedding, Qiu, "Uncertainty-aware Evaluation of Auxiliary Anomalies with the
Expected Anomaly Posterior", 2024. An outlier teaches little if it is indistinguishable from normal
images, and little if it is unlike anything that the detector will ever meet. EAP is high where an
image is probably anomalous and yet not far from the normal ones.

The paper has a few known anomalies. Here there are none, so the two estimates that need them are
replaced; the docstrings say by what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, inf

import torch
from scipy.stats import binom
from torch import Tensor

from ifnormal.common.errors import UserError

CONTAMINATION = 0.05  # γ, the prior probability that an image is anomalous
NEIGHBOUR = 5  # the paper's least k
LEAST_NORMAL = 20
_LEAST_DENSITY = 0.25  # four times as far from normal images as these are from each other
_FLAT = 0.01
_TINY = 1e-9


@dataclass(frozen=True)
class OutlierQuality:
    """What EAP says of M outliers.

    Attributes:
        posterior: (M,) EAP φ in [0, 1], the higher the better; see `expected_anomaly_posterior`.
        probability: (M,) how surely each is an anomaly; see `anomaly_probability`.
        density: (M,) how near each is to the normal images; see `relative_density`.
    """

    posterior: Tensor
    probability: Tensor
    density: Tensor

    @property
    def is_indistinguishable(self) -> Tensor:
        """(M,) bool: no likelier to be an anomaly than the prior says, so that φ <= γ."""
        return self.probability <= CONTAMINATION

    @property
    def is_unrealistic(self) -> Tensor:
        """(M,) bool: more than four times as far from normal images as these from each other."""
        return self.density < _LEAST_DENSITY

    @property
    def is_useless(self) -> Tensor:
        """(M,) bool: indistinguishable or unrealistic."""
        return self.is_indistinguishable | self.is_unrealistic


def expected_anomaly_posterior(probability: Tensor, density: Tensor) -> Tensor:
    """EAP: φ(x) = (α + n p(x) p(Y=1|x)) / (α + β + n p(x)), with α = γ and β = 1 − γ.

    The mean of a Beta(α, β) prior of the anomaly probability, updated by n p(x) pseudo-observations
    of x, of which a share p(Y=1|x) is anomalous. Without data near x it is the prior γ.

    Args:
        probability: (M,) p(Y=1|x) in [0, 1].
        density: (M,) n p(x), at least 0.
    """
    return (CONTAMINATION + density * probability) / (1 + density)


def anomaly_probability(distances: Tensor, normal: Tensor) -> Tensor:
    """p(Y=1|x), the probability that a threshold of contamination γ calls x an anomaly.

    With t of n normal images below the score of x, its outlier probability is p, the ratio of
    1 + t to 2 + n, and the wanted one is P(Binomial(n, p) > n (1 − γ)). Perini, Vercruyssen, Davis,
    "Quantifying the Confidence of Anomaly Detectors in their Example-Wise Predictions", ECML PKDD
    2020. EAP's authors train a classifier with known anomalies instead.

    Args:
        distances: (M,) anomaly scores.
        normal: (n,) scores of normal images, of which none was compared with itself.

    Returns:
        (M,) float64 in [0, 1].
    """
    below = torch.searchsorted(normal.sort().values, distances.contiguous())
    count = len(normal)
    share = (1 + below.double()) / (2 + count)
    limit = floor(count * (1 - CONTAMINATION) + _TINY)
    return torch.from_numpy(binom.sf(limit, count, share.numpy()))


def relative_density(distances: Tensor, normal: Tensor) -> Tensor:
    """The density n p(x) as a multiple of that at a typical normal image.

    As in the paper the density is the reciprocal of a distance in feature space. There it is the
    radius of the smallest ball around a normal image that contains x, of as many neighbours as
    known anomalies need, and outside of all balls the density is 0. Here it is the distance to the
    k-th normal image, which is defined everywhere, and the typical distance is the median.

    Args:
        distances: (M,) to the k-th nearest normal image.
        normal: (n,) the same of normal images, of which none was compared with itself.
    """
    return (normal.median() + _TINY) / (distances + _TINY)


def outlier_quality(
    normal: Tensor, outliers: Tensor, sources: Tensor | None = None
) -> OutlierQuality:
    """Rate outliers by their distances to normal images, in features scaled to unit variance.

    Args:
        normal: (N, F) features of normal images.
        outliers: (M, F) features of outliers.
        sources: (M,) rows of the normal images that outliers were made of, -1 where unknown. None
            is compared with its source, just as no normal image is compared with itself.

    Raises:
        UserError: there are fewer than 20 normal images.
    """
    if len(normal) < LEAST_NORMAL:
        raise UserError(
            f"Synthetic outliers are rated by at least {LEAST_NORMAL} normal images, these are "
            f"{len(normal)}; give more."
        )
    deviation = normal.double().std(0)
    # A feature that hardly varies would outweigh all others.
    scale = deviation.clamp_min(max(_FLAT * float(deviation.mean()), _TINY))
    known, spoilt = normal.double() / scale, outliers.double() / scale
    among = torch.cdist(known, known).fill_diagonal_(inf)
    apart = torch.cdist(spoilt, known)
    if sources is not None:
        rows = (sources >= 0).nonzero().flatten()
        apart[rows, sources[rows]] = inf
    typical = among.kthvalue(NEIGHBOUR, 1).values
    distances = apart.kthvalue(NEIGHBOUR, 1).values
    probability = anomaly_probability(distances, typical)
    density = relative_density(distances, typical)
    return OutlierQuality(expected_anomaly_posterior(probability, density), probability, density)


def by_kind(quality: OutlierQuality, kinds: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each kind of defect, how many were rated, useless ones, and the mean φ, best first."""
    found = {}
    for kind in set(kinds):
        chosen = torch.tensor([name == kind for name in kinds])
        found[kind] = {
            "rated": int(chosen.sum()),
            "useless": int(quality.is_useless[chosen].sum()),
            "posterior": round(float(quality.posterior[chosen].mean()), 3),
        }
    return dict(sorted(found.items(), key=lambda item: (-item[1]["posterior"], item[0])))
