"""The heatmap that a detector itself makes, such as FCDD's."""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.detectors.detector import Detector, device_of, in_batches, own_heatmap
from ifnormal.heatmaps.heatmap import Heatmap


def own_heatmaps(detector: Detector, images: Tensor) -> Tensor | None:
    """A detector's own heatmaps, in its own units, (N, H, W) float32; None where it has none.

    Args:
        detector: what is explained.
        images: (N, C, H, W) uint8.
    """
    make, device = own_heatmap(detector), device_of(detector)
    if make is None:
        return None
    if not len(images):
        return torch.zeros(0, *images.shape[2:])
    heat = in_batches(lambda part: make(part.to(device)), images)
    return heat.nan_to_num(0, 0, 0)


def _heat(detector: Detector, images: Tensor) -> Tensor:
    heat = own_heatmaps(detector, images)
    if heat is None:
        raise ValueError("the detector has no heatmap of its own")
    return heat


OWN = Heatmap(
    name="own",
    title="the detector's own",
    source="Liznerski et al., ICLR 2021, arXiv 2007.01760",
    prepare=lambda normal, seed: _heat,
    applies=lambda detector: own_heatmap(detector) is not None,
)
