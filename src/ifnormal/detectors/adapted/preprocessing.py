"""Preprocessing: from images as they are edited to the input of the user's model."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.errors import UserError
from ifnormal.config import Preprocessing

# ITU-R 601, the grey of Pillow and torchvision.
_GREY = (0.299, 0.587, 0.114)


def preprocess(images: Tensor, steps: Preprocessing) -> Tensor:
    """Turn (N, C, H, W) images in [0, 1] into a model's input; differentiable everywhere.

    Scaling down averages over all pixels, as Pillow and torchvision with antialiasing do.

    Raises:
        UserError: a step does not fit these images.
    """
    images = _channels(images.float(), steps)
    if steps.size is not None and tuple(images.shape[2:]) != steps.size:
        images = F.interpolate(
            images, steps.size, mode="bilinear", align_corners=False, antialias=True
        )
    if steps.crop is not None:
        images = _centre(images, *steps.crop)
    if (steps.low, steps.high) != (0.0, 1.0):
        images = images * (steps.high - steps.low) + steps.low
    if steps.mean is not None:
        images = images - _per_channel(steps.mean, images, "mean")
    if steps.std is not None:
        images = images / _per_channel(steps.std, images, "std")
    return images


def output_size(shape: tuple[int, int, int], steps: Preprocessing) -> tuple[int, int, int]:
    """(C, H, W) of preprocessed images that had `shape` before."""
    height, width = steps.crop or steps.size or shape[1:]
    return steps.channels or shape[0], height, width


def _channels(images: Tensor, steps: Preprocessing) -> Tensor:
    have, want = images.shape[1], steps.channels or images.shape[1]
    if have == 3 and want == 1:
        images = (images * images.new_tensor(_GREY).view(3, 1, 1)).sum(1, keepdim=True)
    elif have == 1 and want == 3:
        images = images.expand(-1, 3, -1, -1)
    elif have != want:
        raise UserError(
            f"Images of {have} channels cannot become images of {want}; give images of 1 or 3."
        )
    return images.flip(1) if steps.bgr and want == 3 else images


def _centre(images: Tensor, height: int, width: int) -> Tensor:
    have_height, have_width = images.shape[2:]
    if height > have_height or width > have_width:
        raise UserError(
            f"A crop of {height}x{width} does not fit into {have_height}x{have_width} images; "
            "give preprocessing a larger size or a smaller crop."
        )
    top, left = round((have_height - height) / 2), round((have_width - width) / 2)
    return images[:, :, top : top + height, left : left + width]


def _per_channel(values: tuple[float, ...], images: Tensor, name: str) -> Tensor:
    if len(values) not in (1, images.shape[1]):
        raise UserError(
            f"The preprocessing {name} has {len(values)} numbers for images of "
            f"{images.shape[1]} channels; give one a channel, or one for all."
        )
    return torch.tensor(values, dtype=images.dtype, device=images.device).view(-1, 1, 1)
