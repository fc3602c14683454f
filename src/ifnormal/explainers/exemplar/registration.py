"""Registration: a donor moved onto an image, so that the same parts lie in the same place."""

from __future__ import annotations

from contextlib import suppress
from math import cos, pi, sin

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]  # (H, W, C) in [0, 1]

ANGLES = 36  # of the coarse search
_SIDE = 32
_ROBUST = 0.15  # differences count no more than this, so that a defect does not decide
_ECC = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)


def robust_difference(a: Picture, b: Picture) -> float:
    """The mean absolute difference of two pictures, each pixel's limited to 0.15."""
    return float(np.minimum(np.abs(a - b).mean(2), _ROBUST).mean())


def thumbnail(picture: Picture) -> NDArray[np.float32]:
    """(32, 32) in grey, divided by its median, so that exposure does not matter."""
    grey = cv2.resize(_grey(picture), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(grey / max(float(np.median(grey)), 0.05), np.float32)


def turned_thumbnails(picture: Picture, turns: int) -> NDArray[np.float32]:
    """(turns, 32, 32), turned by equal steps of a full circle; one for no turns."""
    small = thumbnail(picture)
    steps = [_turn(small, 360 * n / turns) for n in range(turns)]
    return np.stack(steps)


def registered(donor: Picture, picture: Picture, how: str, degrees: float = 0.0) -> Picture:
    """The donor moved onto a picture; where nothing of it lies, its border is continued.

    Args:
        donor: what is moved.
        picture: what it is moved onto.
        how: "none", "translation" or "rotation".
        degrees: about how far it has to be turned, for "rotation".

    Returns:
        The moved donor, or the donor itself where moving it does not bring it closer.
    """
    if how == "none":
        return donor
    begin = np.eye(3)
    if how == "rotation":
        begin[:2] = _rotation(donor.shape, degrees)
    best = _warped(donor, begin, cv2.INTER_LANCZOS4).clip(0, 1) if how == "rotation" else donor
    target, source = _grey(picture), _grey(_warped(donor, begin))
    (right, down), _ = cv2.phaseCorrelate(target, source)
    # ECC begins where the donor lies almost right, as it cannot turn by more than 90 degrees.
    for shift in ((right, down), (0.0, 0.0)):
        start = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
        motion = cv2.MOTION_TRANSLATION if how == "translation" else cv2.MOTION_EUCLIDEAN
        every = np.ones(target.shape, np.uint8)
        with suppress(cv2.error):  # it does not converge on pictures without structure
            warp = np.eye(3)
            warp[:2] = cv2.findTransformECC(target, source, start, motion, _ECC, every, 3)[1]
            moved = _warped(donor, begin @ warp, cv2.INTER_LANCZOS4).clip(0, 1)
            if robust_difference(moved, picture) < robust_difference(best, picture):
                best = moved
                break
    return best


def matched(donor: Picture, picture: Picture) -> Picture:
    """The donor with the brightness and contrast of a picture, by the pixels that agree most."""
    apart = np.abs(donor - picture).mean(2)
    agree = apart <= np.median(apart)
    result = donor.copy()
    for channel in range(donor.shape[2]):
        theirs, ours = donor[..., channel][agree], picture[..., channel][agree]
        gain = float(np.clip(ours.std() / max(float(theirs.std()), 1e-3), 0.8, 1.25))
        result[..., channel] = (donor[..., channel] - theirs.mean()) * gain + ours.mean()
    result = np.clip(result, 0, 1)
    closer = robust_difference(result, picture) < robust_difference(donor, picture)
    return result if closer else donor


def _grey(picture: Picture) -> NDArray[np.float32]:
    return np.ascontiguousarray(picture.mean(2), dtype=np.float32)


def _rotation(shape: tuple[int, ...], degrees: float) -> NDArray[np.float64]:
    """The map from places of the result to places of the donor, about the centre."""
    height, width = shape[:2]
    c, s = cos(degrees * pi / 180), sin(degrees * pi / 180)
    x, y = (width - 1) / 2, (height - 1) / 2
    return np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y]])


def _turn(image: NDArray[np.float32], degrees: float) -> NDArray[np.float32]:
    return _warped(image, _rotation(image.shape, degrees))


def _warped(
    image: NDArray[np.float32], warp: NDArray[np.floating], filter: int = cv2.INTER_LINEAR
) -> NDArray[np.float32]:
    height, width = image.shape[:2]
    flags = filter | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        image, np.asarray(warp[:2], np.float32), (width, height), None, flags, cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.float32).reshape(image.shape)
