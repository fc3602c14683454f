"""Input gradient: to which pixels a detector's score answers."""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.detector import Detector, batch_size_for, device_of, is_black_box
from ifnormal.heatmaps.blur import blurred
from ifnormal.heatmaps.heatmap import Heatmap


def input_gradients(detector: Detector, images: Tensor) -> Tensor | None:
    """How much the log-odds change with each pixel, channels summed, blurred.

    It is what the detector is sensitive to at the image as it is, which is not always what made it
    flag the image. One gradient and no average over noisy copies, as it has to stay a small part
    of the time that an explanation takes.

    Args:
        detector: what is explained.
        images: (N, C, H, W) uint8.

    Returns:
        (N, H, W) float32 on the CPU, at least 0; None where scores have no gradient.
    """
    device, found = device_of(detector), []
    size = batch_size_for(images, gradients=True)
    for part in images.split(size) if len(images) else ():
        with torch.inference_mode(False), torch.enable_grad():
            floats = to_float(part).to(device).clone().requires_grad_(True)
            log_odds, _ = detector.inspect(floats)
            if not log_odds.requires_grad:
                return None
            (gradient,) = torch.autograd.grad(log_odds.sum(), floats)
        found.append(blurred(gradient.float().cpu().nan_to_num(0, 0, 0).abs().sum(1)))
    return torch.cat(found) if found else torch.zeros(0, *images.shape[2:])


def _heat(detector: Detector, images: Tensor) -> Tensor:
    heat = input_gradients(detector, images)
    if heat is None:
        raise UserError("The detector's scores have no gradient; choose another heatmap.")
    return heat


GRADIENT = Heatmap(
    name="gradient",
    title="input gradient",
    source="Simonyan et al. 2014, arXiv 1312.6034",
    prepare=lambda normal, seed: _heat,
    applies=lambda detector: not is_black_box(detector),
)
