"""Regions: what is replaced, growing from the most unusual place on, and how it is blended in."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ifnormal.explainers.exemplar.registration import Picture

Map = NDArray[np.float32]  # (H, W)

_FEATHER = 1 / 85  # of the side: the deviation of the soft border
_CLEAR = 4.0  # times the median difference
_MOST_ADDED = 4.0  # times the area of the mask, the mask included
_MARGIN = 1 / 64  # of the side: how far a region reaches beyond what is unusual


def region(importance: Map, area: float) -> Map:
    """The mask (H, W) in [0, 1] of the share `area` of an image that is most important.

    It reaches a little beyond that and has a soft border. 1 is everything.
    """
    if area >= 1:
        return np.ones_like(importance)
    limit = max(float(np.quantile(importance, 1 - area)), 1e-9)
    core = (importance >= limit).astype(np.uint8)
    return softened(core)


def softened(core: NDArray[np.uint8]) -> Map:
    """A mask with a margin and a soft border around the places where `core` is 1."""
    side = max(core.shape)
    reach = max(1, round(_MARGIN * side))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    wide = cv2.dilate(core, kernel).astype(np.float32)
    soft = cv2.GaussianBlur(wide, (0, 0), max(0.6, _FEATHER * side))
    return np.asarray(soft, np.float32)


def parts(mask: Map, most: int) -> list[Map]:
    """The connected parts of a mask, the largest first; what is beyond `most` is one part."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 0.02).astype(np.uint8))
    order = sorted(range(1, count), key=lambda n: -stats[n, cv2.CC_STAT_AREA])
    groups = [[n] for n in order[: most - 1]] + ([order[most - 1 :]] if order[most - 1 :] else [])
    return [np.where(np.isin(labels, group), mask, 0).astype(np.float32) for group in groups]


def completed(mask: Map, difference: Map) -> Map:
    """The mask with the whole of what differs and touches it.

    Part of a defect may suffice the detector; what is left of it would still be one. Places where
    the picture and the donor differ clearly, and that are connected with the mask, are added as
    long as they are no larger than three times the mask.

    Args:
        mask: (H, W) in [0, 1].
        difference: (H, W) between the picture and the donor, at least 0.
    """
    core = mask > 0.5
    if not core.any():
        return mask
    clear = max(_CLEAR * float(np.median(difference)), 0.3 * float(difference[core].max()), 0.02)
    places = ((difference > clear) | core).astype(np.uint8)
    labels = cv2.connectedComponents(places)[1]
    whole = np.isin(labels, np.unique(labels[core])) & (places > 0)
    if whole.sum() > _MOST_ADDED * core.sum():
        return mask
    return np.maximum(mask, softened(whole.astype(np.uint8)))


def composed(picture: Picture, donor: Picture, mask: Map) -> Picture:
    """The picture with the donor under the mask."""
    share = mask[..., None]
    return np.asarray(share * donor + (1 - share) * picture, np.float32)


def smooth(values: Map, share: float) -> Map:
    """A map blurred by a share of its side, at least 0."""
    deviation = max(0.6, share * max(values.shape))
    blurred = cv2.GaussianBlur(values.astype(np.float32), (0, 0), deviation)
    return np.asarray(np.maximum(blurred, 0), np.float32)
