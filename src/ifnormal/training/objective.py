"""The objective: every term of the method as a function of tensors. Nothing else has the equations.

References are to section 3 of Liznerski, Varshneya et al., "Reimagining Anomalies: What If
Anomalies Were Normal?" (AAAI 2026), except where a term names another source or is our own.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

_SPOILT = 0.06
_OUTSIDE = 4.0


def score_loss(log_odds: Tensor, target: Tensor) -> Tensor:
    """L_φ: binary cross entropy between the detector's score and the target α, both (N,).

    The paper prints the log-likelihood; this is its negative, to be minimised. Taken on log-odds,
    so that a gradient is left where the score is almost 0 or 1.
    """
    return F.binary_cross_entropy_with_logits(log_odds, target)


def discriminator_loss(real: Tensor, generated: Tensor) -> Tensor:
    """L_D for D: relu(1 − D(x)) + relu(1 + D(x̄)), means over (N,) and (M,)."""
    return F.relu(1 - real).mean() + F.relu(1 + generated).mean()


def generator_loss(generated: Tensor, kind: Literal["linear", "hinge"]) -> Tensor:
    """L_D for G on (N,) realness: "linear" is −D(x̄), "hinge" the paper's relu(1 − D(x̄)).

    The hinge's gradient vanishes once D(x̄) > 1.
    """
    return -generated.mean() if kind == "linear" else F.relu(1 - generated).mean()


def reconstruction_loss(images: Tensor, reconstructed: Tensor) -> Tensor:
    """L_rec and L_cyc: mean absolute difference, ‖x − G(x, φ(x), k)‖₁ or ‖x − x̃‖₁ a pixel."""
    return (images - reconstructed).abs().mean()


def concept_loss(logits: Tensor, concept: Tensor) -> Tensor:
    """L_con: cross entropy between R's logits (N, K) for a pair and the concept (N,) behind it."""
    return F.cross_entropy(logits.float(), concept)


def no_concept_loss(logits: Tensor) -> Tensor:
    """R should see no concept in a pair that was not edited (DISSECT): cross entropy to uniform."""
    return -F.log_softmax(logits, 1).mean()


def diversity_loss(first: Tensor, second: Tensor, margin: float) -> Tensor:
    """relu(ε′ − mean|x̄₀ − x̄₁|): two concepts may not give the same image (section 3.1, ε′)."""
    return F.relu(margin - (first - second).abs().mean((1, 2, 3))).mean()


def contrast_loss(first: Tensor, second: Tensor) -> Tensor:
    """relu(cos(f₀, f₁)) of standardised features (N, F): concepts point to different reasons.

    Our own.
    """
    return F.relu(F.cosine_similarity(first, second)).mean()


def mode_loss(log_probabilities: Tensor, concept: Tensor, normality: Tensor) -> Tensor:
    """Cross entropy of the normal mode an edited image (N, K) belongs to against its concept (N,).

    Weighted by `normality` (N,) = 1 − α: only what shall be normal has to choose a mode. Our own.
    """
    losses = F.nll_loss(log_probabilities, concept, reduction="none")
    return (losses * normality).mean()


def structure_distance(before: Tensor, after: Tensor, window: int = 8) -> Tensor:
    """How much the drawing changed, whatever its tint or brightness: (N,) in [0, 2], 0 the same.

    One minus the structure term of SSIM (Wang et al. 2004), the correlation of grey values within
    windows, averaged over those with any contrast before or after. A pixel norm charges more for
    recolouring a whole stroke than for drawing a thin one; this one does not.
    """
    stability = 1e-3
    grey = torch.stack([before.mean(1), after.mean(1)], 1).float()
    mean = F.avg_pool2d(grey, window, window // 2)
    square = F.avg_pool2d(grey.square(), window, window // 2)
    product = F.avg_pool2d(grey[:, :1] * grey[:, 1:], window, window // 2)[:, 0]
    variance = (square - mean.square()).clamp_min(0)
    covariance = product - mean[:, 0] * mean[:, 1]
    deviation = (variance[:, 0] * variance[:, 1] + stability**2).sqrt()
    structure = covariance / deviation
    weight = (variance.detach().sum(1) + stability**2).sqrt()
    return ((1 - structure) * weight).sum((1, 2)) / weight.sum((1, 2))


def restoration_loss(images: Tensor, edited: Tensor, sources: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of edits from what synthetic outliers were made of, by weight (N,).

    Such an outlier has one counterfactual that is known to be normal and minimal. The mean where it
    was spoilt and the mean elsewhere count each for themselves: the spoilt place is small, and over
    the whole image doing nothing would be almost right. Our own.
    """
    spoilt = ((images - sources).abs().amax(1) > _SPOILT).float()
    apart = (edited - sources).abs().mean(1)
    inside = (apart * spoilt).sum((1, 2)) / spoilt.sum((1, 2)).clamp_min(1)
    outside = (apart * (1 - spoilt)).sum((1, 2)) / (1 - spoilt).sum((1, 2)).clamp_min(1)
    return ((inside + _OUTSIDE * outside) * weight).sum() / weight.sum().clamp_min(1)


def betweenness_loss(start: Tensor, middle: Tensor, end: Tensor) -> Tensor:
    """‖x − x̄_α‖₁ + ‖x̄_α − x̄₀‖₁ − ‖x − x̄₀‖₁ a pixel: 0 where x̄_α lies between x and x̄₀.

    Without it the images half-way of a traversal may be anything that has the score. Our own.
    """
    detour = (start - middle).abs() + (middle - end).abs() - (start - end).abs()
    return detour.mean()


def overshoot_loss(overshoot: Tensor) -> Tensor:
    """Mean square of what was clamped away, so that a pixel does not drift off beyond [0, 1]."""
    return overshoot.square().mean()
