"""The heatmap beside an explanation: the detector's own, else the gradient, as 8-bit pictures."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.pixels import to_float
from ifnormal.detectors.detector import (
    Detector,
    batch_size_for,
    device_of,
    in_batches,
)

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
    if detector.heatmap is not None:
        heat = own_heatmaps(detector, images)
    else:
        source = guide if detector.is_black_box else detector
        heat = None if source is None else input_gradients(source, images)
    return None if heat is None else _scaled(heat)


def heatmap_source(detector: Detector) -> str:
    """Of what the shown heatmaps are: "own" or "gradient"."""
    return "gradient" if detector.heatmap is None else "own"


def _scaled(heat: Tensor) -> Tensor:
    """(N, H, W) uint8; a map that is 0 everywhere stays so."""
    if not len(heat):
        return heat.to(torch.uint8)
    flat = heat.flatten(1)
    hottest, most = flat.kthvalue(math.ceil(_HOTTEST * flat.shape[1]), 1)[0], flat.amax(1)
    scale = torch.where(hottest > 0, hottest, most).clamp(min=torch.finfo(heat.dtype).tiny)
    return ((heat / scale[:, None, None]).clamp(0, 1) * 255).round().to(torch.uint8)


# The width of the blur as a share of the image's longer side: single pixels say nothing.
_BLUR = 1 / 32


def blurred(heat: Tensor) -> Tensor:
    """(N, H, W) after a Gaussian filter, the edge going on beyond the image."""
    width = max(heat.shape[1:]) * _BLUR
    radius = math.ceil(3 * width)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / width) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(heat[:, None], [radius] * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])[:, 0]


def own_heatmaps(detector: Detector, images: Tensor) -> Tensor | None:
    """A detector's own heatmaps, in its own units, (N, H, W) float32; None where it has none.

    Args:
        detector: what is explained.
        images: (N, C, H, W) uint8.
    """
    make, device = detector.heatmap, device_of(detector)
    if make is None:
        return None
    if not len(images):
        return torch.zeros(0, *images.shape[2:])
    heat = in_batches(lambda part: make(part.to(device)), images)
    return heat.nan_to_num(0, 0, 0)


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
