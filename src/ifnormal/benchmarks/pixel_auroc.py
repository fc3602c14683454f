"""Pixel AuROC: how well a heatmap tells anomalous pixels from normal ones.

Bergmann et al., MVTec AD, CVPR 2019; Liznerski et al., FCDD, ICLR 2021, section 4.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def pixel_auroc(heat: Tensor, masks: Tensor) -> float:
    """Area under the ROC curve of all pixels of all images together, in %, [0, 100].

    P(hotter inside) + P(equal) / 2, exactly, by ranks in double precision.

    Args:
        heat: (N, H, W), in any unit that is the same for all images.
        masks: (N, H, W) bool, where an image is anomalous; nowhere in a normal one.

    Raises:
        ValueError: shapes differ, a heat is no finite number, or there are no pixels of one kind.
    """
    import torch

    if heat.shape != masks.shape or masks.dtype != torch.bool:
        raise ValueError(
            f"pixel_auroc needs heat and boolean masks of one shape, not {tuple(heat.shape)} "
            f"{tuple(masks.shape)} {masks.dtype}"
        )
    values, inside = heat.detach().flatten(), masks.flatten()
    if not bool(torch.isfinite(values).all()):
        raise ValueError("pixel_auroc needs finite heat")
    hot = int(inside.sum())
    cold = inside.numel() - hot
    if not hot or not cold:
        raise ValueError("pixel_auroc needs pixels inside and outside of the masks")
    _, place, count = torch.unique(values, return_inverse=True, return_counts=True)
    # Equal values share the mean of their ranks, which count from 1.
    ranks = count.cumsum(0).double() - (count.double() - 1) / 2
    above = ranks[place[inside]].sum() - hot * (hot + 1) / 2
    return 100 * float(above / (hot * cold))
