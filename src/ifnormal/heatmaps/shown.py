"""The heatmap beside an explanation: the detector's own, else the gradient, as 8-bit pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ifnormal.detectors.detector import Detector, is_black_box, own_heatmap
from ifnormal.heatmaps.gradient import input_gradients
from ifnormal.heatmaps.own import own_heatmaps

# As hot as it gets from here on, so that one pixel does not darken all others.
_HOTTEST = 0.99


def heatmaps(detector: Detector, images: Tensor, guide: Detector | None = None) -> Tensor | None:
    """What the report shows: where a detector that has a heatmap sees the anomaly, or gradients.

    Args:
        detector: what is explained.
        images: (N, C, H, W) uint8.
        guide: the surrogate of a black box, whose gradient is taken instead.

    Returns:
        (N, H, W) uint8 on the CPU, 255 for the hottest hundredth of each image and 0 where nothing
        counts; None of a black box without a guide, and where scores have no gradient.
    """
    if own_heatmap(detector) is not None:
        heat = own_heatmaps(detector, images)
    else:
        source = guide if is_black_box(detector) else detector
        heat = None if source is None else input_gradients(source, images)
    return None if heat is None else _scaled(heat)


def heatmap_source(detector: Detector) -> str:
    """Of what the shown heatmaps are: "own" or "gradient"."""
    return "gradient" if own_heatmap(detector) is None else "own"


def _scaled(heat: Tensor) -> Tensor:
    """(N, H, W) uint8; a map that is 0 everywhere stays so."""
    if not len(heat):
        return heat.to(torch.uint8)
    flat = heat.flatten(1)
    hottest, most = flat.kthvalue(math.ceil(_HOTTEST * flat.shape[1]), 1)[0], flat.amax(1)
    scale = torch.where(hottest > 0, hottest, most).clamp(min=torch.finfo(heat.dtype).tiny)
    return ((heat / scale[:, None, None]).clamp(0, 1) * 255).round().to(torch.uint8)
