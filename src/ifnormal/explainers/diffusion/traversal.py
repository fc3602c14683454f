"""Counterfactuals of any score α on the way from an image to its edit; monotone by choice."""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.common.pixels import quantize
from ifnormal.detectors.detector import Detector, log_odds_of
from ifnormal.explainers.diffusion.canvas import Canvas

_LEVELS = 17


@torch.no_grad()
def traversal(
    detector: Detector, canvas: Canvas, edited: Tensor, mask: Tensor, shares: Tensor
) -> Tensor:
    """Images whose scores fall from the image's own to that of its edit.

    The latents are led from the original to the edit in small steps. Of the images on the way,
    those are kept whose score is lower than that of all before and not below that of the edit, and
    for each target the one is taken whose score is nearest.

    Args:
        detector: gives the scores.
        canvas: of M images.
        edited: (M, K, L, h, w) latents of their edits.
        mask: (M, 1, h, w), as the edits were painted with.
        shares: (T,) for all or (M, T) for each: targets as shares of an image's own score, falling
            from 1 to 0.

    Returns:
        (M, K, T, C, H, W) uint8; the first is the image, the last its edit.
    """
    strengths = torch.linspace(0, 1, _LEVELS)
    start = canvas.latents[:, None]
    frames = torch.stack(
        [quantize(canvas.paint(start.lerp(edited, s), mask)).cpu() for s in strengths.tolist()],
        2,
    )
    frames[:, :, 0] = quantize(canvas.images)[:, None].cpu()
    scores = log_odds_of(detector, frames.flatten(0, 2)).view(frames.shape[:3]).sigmoid()
    falling, where = scores.cummin(2)
    # Places that were better than the edit itself would let the score rise again at the end.
    usable = falling >= scores[:, :, -1:]
    targets = shares.expand(len(scores), -1)[:, None, :, None]
    wanted = targets * scores[:, :, None, :1]
    far = (falling[:, :, None] - wanted).abs().masked_fill(~usable[:, :, None], torch.inf)
    far[..., 0] = far[..., 0].clamp_max(2)  # the image itself is always there
    chosen = where.gather(2, far.argmin(3).cummax(2).values)
    chosen[:, :, 0], chosen[:, :, -1] = 0, _LEVELS - 1
    at = chosen[..., None, None, None].expand(-1, -1, -1, *frames.shape[3:])
    return frames.gather(2, at)
