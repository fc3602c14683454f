"""The blur that all heatmaps of single pixels share."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

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
