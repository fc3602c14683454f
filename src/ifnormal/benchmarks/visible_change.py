"""How much of an image an edit visibly changes, where, and what it does to the rest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.pixels import to_float
from ifnormal.evaluation.auroc import auroc

_VISIBLE = 25  # of 255: a pixel that changed by less does not look changed
_MARGIN = 4  # pixels around a defect that may change with it


def changed_pixels(images: Tensor, edited: Tensor) -> float:
    """Share of visibly changed pixels, in %; (N, C, H, W) uint8 each."""
    return 100 * (_largest_change(images, edited) > _VISIBLE).double().mean().item()


def sharpness(images: Tensor, edited: Tensor) -> float:
    """Share of the fine detail, in %, that is left where nothing visibly changed.

    Below 100 the edit blurs what it should leave alone. Images are (N, C, H, W) uint8.
    """
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)

    def detail(images: Tensor) -> Tensor:
        return F.conv2d(to_float(images).mean(1, keepdim=True), kernel).abs()

    change = _largest_change(images, edited)[:, None].float()
    same = F.max_pool2d(change, 5, 1, 2)[:, :, 1:-1, 1:-1] <= _VISIBLE
    return 100 * (detail(edited)[same].sum() / detail(images)[same].sum()).item()


def localisation(images: Tensor, edited: Tensor, masks: Tensor) -> dict[str, float]:
    """Whether edits are where the defects are.

    Args:
        images, edited: (N, C, H, W) uint8.
        masks: (N, H, W) bool, the defects.

    Returns:
        In %, means over the images. `edit_inside`: share of the squared change within 4 pixels of
        the defect. `area_inside`: the share of the image that this is, which an edit without aim
        would have. `edit_auroc`: how often |edit|, smoothed a little, is larger at a pixel of the
        defect than at another one of the image.
    """
    size = 2 * _MARGIN + 1
    near = F.max_pool2d(masks[:, None].float(), size, 1, _MARGIN)[:, 0] > 0
    energy = (to_float(edited) - to_float(images)).square().mean(1)
    inside = (energy * near).sum((1, 2)) / energy.sum((1, 2)).clamp_min(1e-12)
    heat = F.avg_pool2d(energy.sqrt()[:, None], 5, 1, 2)[:, 0].clamp(0, 1)
    aurocs = [auroc(h[~m], h[m]) for h, m in zip(heat, masks, strict=True) if m.any()]
    return {
        "edit_inside": 100 * inside.mean().item(),
        "area_inside": 100 * near.double().mean().item(),
        "edit_auroc": sum(aurocs) / len(aurocs),
    }


def _largest_change(images: Tensor, edited: Tensor) -> Tensor:
    """(N, H, W): of all channels."""
    return (edited.int() - images.int()).abs().amax(1)
