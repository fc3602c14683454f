"""Synthetic outliers: normal images with added defects of many kinds.

Each file has a family of kinds. A new kind is a function `(image, donor, rng) -> image` of
(C, H, W) floats in [0, 1] and a line in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import quantize, to_float
from ifnormal.data.sampling import generator
from ifnormal.data.synthetic import shapes
from ifnormal.data.synthetic.colours import recolour, stain
from ifnormal.data.synthetic.confetti import confetti
from ifnormal.data.synthetic.geometry import erase, turn, warp
from ifnormal.data.synthetic.noise import grain
from ifnormal.data.synthetic.patches import blob, cut_paste, scar, swap


@dataclass(frozen=True)
class Kind:
    """A kind of defect.

    Attributes:
        spoil: (image (C, H, W), donor (C, H, W), rng) -> (C, H, W), floats in [0, 1].
        share: relative frequency.
        whole: whether the whole image changes. Normal images may themselves be turned or
            recoloured, so such an outlier is kept only if it is farther from every normal image
            than these are from each other.
    """

    spoil: Callable[[Tensor, Tensor, torch.Generator], Tensor]
    share: float = 1.0
    whole: bool = False


KINDS: dict[str, Kind] = {
    "cut_paste": Kind(cut_paste, 1.5),
    "scar": Kind(scar, 1.5),
    "blob": Kind(blob, 1.5),
    "swap": Kind(swap),
    "confetti": Kind(confetti),
    "stain": Kind(stain),
    "grain": Kind(grain, 1.5),
    "warp": Kind(warp, 1.5),
    "erase": Kind(erase),
    "recolour": Kind(recolour, 0.5, whole=True),
    "turn": Kind(turn, 0.25, whole=True),
}
INVERTED = "inverted box"  # what is made where no defect would be visible


@dataclass(frozen=True)
class MadeOutliers:
    """Synthetic outliers and how they were made.

    Attributes:
        images: (N, C, H, W) uint8.
        sources: (N,) indices of the normal images that they were made of; -1 if the whole image
            changed, as the original cannot be recognised then.
        kinds: N names of `KINDS`, or `INVERTED`.
    """

    images: Tensor
    sources: Tensor
    kinds: tuple[str, ...]


_ATTEMPTS = 8
_VISIBLE = 0.12  # smaller changes of a pixel are not visible
_SEEN = 12  # of 255; lower than _VISIBLE, so that masks contain the faint rim of a defect
_SMALLEST = 0.001  # least share of changed pixels
_COMPARED = 512  # normal images with which a wholly changed one is compared
_FARTHER = 1.25
_SIDE = 16


def synthetic_outliers(
    normal: Tensor, count: int, seed: int, kinds: tuple[str, ...] = tuple(KINDS)
) -> Tensor:
    """Make outliers of normal images.

    Like real defects, most changes are local, so that an explainer learns to repair the place and
    to keep the rest. Every outlier differs visibly from the image it was made of.

    Args:
        normal: (N, C, H, W) uint8, C of 1 or 3, H and W at least 4.
        count: how many to make; with the same seed, the first ones do not depend on it.
        seed: of all random choices.
        kinds: names of `KINDS`.

    Returns:
        (count, C, H, W) uint8.

    Raises:
        UserError: there are no images, they are too small, or a kind is unknown.
    """
    return made_outliers(normal, count, seed, kinds).images


def made_outliers(
    normal: Tensor, count: int, seed: int, kinds: tuple[str, ...] = tuple(KINDS)
) -> MadeOutliers:
    """Outliers as in `synthetic_outliers`, and how each was made."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        problem = f"There is no kind {unknown[0]!r} of" if unknown else "No kind is named for"
        raise UserError(f"{problem} synthetic outliers; choose from {', '.join(KINDS)}.")
    if normal.ndim != 4 or not len(normal) or min(normal.shape[2:]) < 4:
        raise UserError(
            "Synthetic outliers are made of at least one normal image of 4x4 pixels or more, these "
            f"are {tuple(normal.shape)}; give more or larger images."
        )
    rng = generator(seed, "synthetic outliers")
    shares = torch.tensor([KINDS[kind].share for kind in kinds])
    distances = _Distances.of(normal) if any(KINDS[kind].whole for kind in kinds) else None
    made = torch.empty(count, *normal.shape[1:], dtype=torch.uint8)
    sources = torch.empty(count, dtype=torch.int64)
    names = []
    for i in range(count):
        own, other = torch.randint(len(normal), (2,), generator=rng).tolist()
        made[i], name = _outlier(normal[own], normal[other], kinds, shares, distances, rng)
        sources[i] = -1 if name in KINDS and KINDS[name].whole else own
        names.append(name)
    return MadeOutliers(made, sources, tuple(names))


def changed_pixels(made: Tensor, normal: Tensor, sources: Tensor) -> Tensor:
    """Masks of the pixels in which each outlier differs from the image it was made of.

    Args:
        made: (count, C, H, W) uint8 outliers.
        normal: the images they were made of.
        sources: (count,) indices of these as in `MadeOutliers`.

    Returns:
        (count, H, W) bool.
    """
    places = torch.ones(len(made), *made.shape[2:], dtype=torch.bool)
    for n, source in enumerate(sources.tolist()):
        if source >= 0:
            change = (made[n].int() - normal[source].int()).abs().amax(0)
            places[n] = change > _SEEN
    return places


def _outlier(
    normal: Tensor,
    other: Tensor,
    kinds: tuple[str, ...],
    shares: Tensor,
    distances: _Distances | None,
    rng: torch.Generator,
) -> tuple[Tensor, str]:
    """An outlier made of `normal`, and its kind."""
    image, donor = to_float(normal), to_float(other)
    for _ in range(_ATTEMPTS):
        name = kinds[int(torch.multinomial(shares, 1, generator=rng))]
        kind = KINDS[name]
        spoilt = quantize(kind.spoil(image, donor, rng))
        if kind.whole and distances is not None and not distances.is_far(spoilt):
            continue
        if _visible(image, to_float(spoilt)):
            return spoilt, name
    # In an image without structure, moved or bent parts are not visible.
    top, left, h, w = shapes.box(rng, image, (0.02, 0.1), shapes.place(rng, image))
    top, left = min(top, image.shape[1] - 2), min(left, image.shape[2] - 2)
    h, w = max(2, h), max(2, w)
    image[:, top : top + h, left : left + w] = (image[:, top : top + h, left : left + w] + 0.5) % 1
    return quantize(image), INVERTED


def _visible(before: Tensor, after: Tensor) -> bool:
    changed = (after - before).abs().amax(0) > _VISIBLE
    return int(changed.sum()) >= max(2, _SMALLEST * changed.numel())


@dataclass(frozen=True)
class _Distances:
    """Distances to the nearest normal image, on thumbnails."""

    thumbnails: Tensor
    usual: float

    @classmethod
    def of(cls, normal: Tensor) -> _Distances:
        """Compare up to 512 evenly spaced normal images with each other."""
        step = -(-len(normal) // _COMPARED)
        thumbnails = _thumbnails(normal[::step])
        if len(thumbnails) < 2:
            return cls(thumbnails, 0.0)
        apart = torch.cdist(thumbnails, thumbnails)
        apart.fill_diagonal_(float("inf"))
        return cls(thumbnails, _FARTHER * float(apart.amin(1).quantile(0.95)))

    def is_far(self, image: Tensor) -> bool:
        """Whether (C, H, W) uint8 is farther from the normal images than these from each other."""
        return float(torch.cdist(_thumbnails(image[None]), self.thumbnails).min()) > self.usual


def _thumbnails(images: Tensor) -> Tensor:
    size = (min(_SIDE, images.shape[2]), min(_SIDE, images.shape[3]))
    return F.adaptive_avg_pool2d(to_float(images), size).flatten(1)
