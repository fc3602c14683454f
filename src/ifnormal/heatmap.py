"""Heatmaps: to which pixels a detector's score answers, by the gradient of its log-odds."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.detectors.detector import Detector, batch_size_for, device_of, is_black_box
from ifnormal.pixels import to_float

# The width of the blur as a share of the image's longer side: single pixels say nothing.
_BLUR = 1 / 32
# As hot as it gets from here on, so that one pixel does not darken all others.
_HOTTEST = 0.99
# Gradients take several times the memory of scores, so that many images fewer at once.
_FEWER = 4


def heatmaps(detector: Detector, images: Tensor, guide: Detector | None = None) -> Tensor | None:
    """Input gradients: how much the log-odds change with each pixel, channels summed, blurred.

    It is what the detector is sensitive to at the image as it is, which is not always what made it
    flag the image. One gradient and no average over noisy copies, as it has to stay a small part
    of the time that an explanation takes.

    Args:
        detector: what is explained.
        images: (N, C, H, W) uint8.
        guide: the surrogate of a black box, whose gradient is taken instead.

    Returns:
        (N, H, W) uint8 on the CPU, 255 for the hottest hundredth of each image and 0 where nothing
        counts; None of a black box without a guide, and where scores have no gradient.
    """
    source = guide if is_black_box(detector) else detector
    if source is None:
        return None
    device, found = device_of(source), []
    size = max(1, batch_size_for(images) // _FEWER)
    for part in images.split(size) if len(images) else ():
        with torch.inference_mode(False), torch.enable_grad():
            floats = to_float(part).to(device).clone().requires_grad_(True)
            log_odds, _ = source.inspect(floats)
            if not log_odds.requires_grad:
                return None
            (gradient,) = torch.autograd.grad(log_odds.sum(), floats)
        found.append(_scaled(_blurred(gradient.float().cpu().nan_to_num(0, 0, 0).abs().sum(1))))
    return torch.cat(found) if found else torch.zeros(0, *images.shape[2:], dtype=torch.uint8)


def _blurred(heat: Tensor) -> Tensor:
    """(N, H, W) after a Gaussian filter, the edge going on beyond the image."""
    width = max(heat.shape[1:]) * _BLUR
    radius = math.ceil(3 * width)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / width) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(heat[:, None], [radius] * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])[:, 0]


def _scaled(heat: Tensor) -> Tensor:
    """(N, H, W) uint8; a map that is 0 everywhere stays so."""
    flat = heat.flatten(1)
    hottest, most = flat.kthvalue(math.ceil(_HOTTEST * flat.shape[1]), 1)[0], flat.amax(1)
    scale = torch.where(hottest > 0, hottest, most).clamp(min=torch.finfo(heat.dtype).tiny)
    return ((heat / scale[:, None, None]).clamp(0, 1) * 255).round().to(torch.uint8)
