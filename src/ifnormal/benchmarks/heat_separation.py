"""Whether heatmaps show the reason: does heat of anomalies differ from that of normal twins?

A heatmap explains a reason only if it looks different where the reason is absent, such as that of a
red four that is anomalous for its colour, and that of the same four in the normal colour.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.evaluation.auroc import auroc

_GRID = 16


def heat_amount_auroc(anomalous: Tensor, normal: Tensor) -> float:
    """AuROC in %, [0, 100], of an image's mean heat; 50 is no difference, 100 is ideal.

    The amount of heat repeats the detector's score, which the user knows already. It is lost if
    each map is scaled by itself for display.

    Args:
        anomalous: (N, H, W) heat of anomalies, at least 0.
        normal: (M, H, W) heat of normal images, on the same scale.
    """
    amounts = [heat.double().flatten(1).mean(1) for heat in (normal, anomalous)]
    most = torch.cat(amounts).max().clamp_min(torch.finfo(torch.float64).tiny)
    return auroc(amounts[0] / most, amounts[1] / most)


def heat_pattern_auroc(anomalous: Tensor, normal: Tensor, seed: int) -> float:
    """AuROC in %, [0, 100], of a classifier of maps that are scaled for display, each by itself.

    A logistic regression on the maps, pooled to at most 16x16 and scaled to a maximum of 1, is
    trained on half of the pairs and tested on the other half. 50 means that maps look the same with
    and without the reason.

    Args:
        anomalous: (N, H, W) heat of anomalies, at least 0, N at least 4.
        normal: (N, H, W) heat of the same images without the reason; pair n is never split.
        seed: of the halves.

    Raises:
        ValueError: the shapes differ, or there are fewer than four pairs.
    """
    from sklearn.linear_model import LogisticRegression

    if anomalous.shape != normal.shape or len(anomalous) < 4:
        raise ValueError(
            f"expected two (N, H, W), N > 3, got {tuple(anomalous.shape)}, {tuple(normal.shape)}"
        )
    order = torch.randperm(len(anomalous), generator=torch.Generator().manual_seed(seed))
    learn, ask = order[: len(order) // 2], order[len(order) // 2 :]
    hot, cold = _shown(anomalous), _shown(normal)
    labels = [1] * len(learn) + [0] * len(learn)
    probe = LogisticRegression(max_iter=1000)
    probe.fit(torch.cat([hot[learn], cold[learn]]).numpy(), labels)
    said = [torch.from_numpy(probe.predict_proba(part[ask].numpy())[:, 1]) for part in (cold, hot)]
    return auroc(said[0], said[1])


def _shown(heat: Tensor) -> Tensor:
    """(N, H, W) heat to (N, at most 256), pooled and scaled to a maximum of 1, as displayed."""
    side = min(_GRID, *heat.shape[1:])
    pooled = F.adaptive_avg_pool2d(heat[:, None].float(), side).flatten(1)
    return pooled / pooled.amax(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
