"""Donors: the normal images whose parts replace parts of an anomaly, and which of them suit it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ifnormal.explainers.exemplar.registration import (
    ANGLES,
    Picture,
    matched,
    registered,
    robust_difference,
    thumbnail,
    turned_thumbnails,
)

_TRIED = 24  # normal images on which a registration is tried
_PAYS = 0.9  # of the difference that is left with the simpler one
_ROBUST = 0.3  # thumbnails are divided by their median
_TURNED = 400  # donors whose thumbnails are kept at every angle
_CANDIDATES = 2  # registered for each donor that is wanted
_NOT_WORSE = 1.5
_AT_ONCE = 4096


@dataclass(frozen=True)
class Donor:
    """A normal image, moved onto an anomaly.

    Attributes:
        number: of the normal image in the index.
        picture: (H, W, C) in [0, 1].
        difference: robust difference from the anomaly.
    """

    number: int
    picture: Picture
    difference: float


class Donors:
    """An index of normal images.

    Args:
        images: (N, C, H, W) uint8.
        how: registration; see `registered`.
    """

    def __init__(self, images: Tensor, how: str) -> None:
        self.images = images if how != "rotation" else images[:_TURNED]
        self.how = how
        self._turns = ANGLES if how == "rotation" else 1
        thumbnails = [turned_thumbnails(self.picture(n), self._turns) for n in range(len(self))]
        self._thumbnails = torch.from_numpy(np.concatenate(thumbnails)).flatten(1)

    @classmethod
    def choose(cls, images: Tensor, how: str, most: int, seed: int) -> Donors:
        """An index of at most `most` images; "auto" measures which registration pays.

        The simplest is taken that leaves hardly more of the difference between normal images than
        a more complicated one.
        """
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        images = images[order[:most].sort().values]
        if how != "auto":
            return cls(images, how)
        tried = images[: min(_TRIED, len(images) // 2)]
        rest = images[len(tried) :][: _TURNED // 2]
        best, least = "none", np.inf
        for name in ("none", "translation", "rotation"):
            index = cls(rest, name)
            left = [index.nearest(as_picture(image), 1)[0].difference for image in tried]
            if not left:
                break
            if float(np.median(left)) < _PAYS * least:
                best, least = name, float(np.median(left))
        return cls(images, best)

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, number: int) -> Picture:
        """(H, W, C) in [0, 1]."""
        return as_picture(self.images[number])

    def nearest(self, picture: Picture, count: int) -> list[Donor]:
        """The donors most like a picture, the best first, each moved onto it.

        Differences of pixels are limited, so that a defect does not decide. A donor that fits much
        worse than the best is left out.

        Args:
            picture: the anomaly, (H, W, C) in [0, 1].
            count: how many at most.
        """
        query = torch.from_numpy(thumbnail(picture)).flatten()
        parts = self._thumbnails.split(_AT_ONCE)
        apart = torch.cat([(p - query).abs_().clamp_max_(_ROBUST).mean(1) for p in parts])
        apart, turn = apart.view(len(self), self._turns).min(1)
        found = []
        for number in apart.argsort(stable=True)[: _CANDIDATES * count].tolist():
            degrees = 360 * int(turn[number]) / self._turns
            moved = registered(self.picture(number), picture, self.how, degrees)
            moved = matched(moved, picture)
            found.append(Donor(number, moved, robust_difference(moved, picture)))
        found.sort(key=lambda donor: donor.difference)
        most = _NOT_WORSE * found[0].difference
        return [donor for donor in found[:count] if donor.difference <= most]


def as_picture(image: Tensor) -> Picture:
    """(H, W, C) in [0, 1] of (C, H, W) uint8."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy(), np.float32) / np.float32(255)


def as_image(picture: NDArray[np.float32]) -> Tensor:
    """(C, H, W) float in [0, 1] of (H, W, C)."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)
