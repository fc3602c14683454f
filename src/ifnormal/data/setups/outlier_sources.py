"""The outliers of a card: of its first available source, or a mix of all available ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ifnormal.common.errors import UserError
from ifnormal.data.sampling import generator, stratified
from ifnormal.data.setups.altered import altered_images
from ifnormal.data.setups.card import Card
from ifnormal.data.setups.missing import ALTERED, LETTERS, REST, SYNTHETIC, is_available
from ifnormal.data.setups.outlier_letters import judge_letters, outlier_letters
from ifnormal.data.sources.labelled import LabelledImages
from ifnormal.data.sources.locations import how_to_get
from ifnormal.data.sources.named_source import open_source
from ifnormal.data.sources.source import Source
from ifnormal.data.synthetic import synthetic_outliers

_HELD_OUT = 0.1
_JUDGE_OUTLIERS = 4000


@dataclass(frozen=True)
class Outliers:
    """Outlier exposure, (N, C, H, W) uint8 each.

    Attributes:
        train: outliers to train with.
        validation: outliers held out.
        source: name of the source.
        judge: junk that the judge must refuse, independent of the seed and of what is normal; None
            if all outliers are made of normal images.
    """

    train: Tensor
    validation: Tensor
    source: str
    judge: Tensor | None


@dataclass(frozen=True)
class Normal:
    """The normal images, which outliers must not resemble and may be made of.

    Attributes:
        train, validation: (N, C, H, W) uint8.
        labels: numbers of the normal classes.
        names: names of the normal classes.
        rest: count -> training, and held-out, images of neither normal nor anomalous classes.
    """

    train: Tensor
    validation: Tensor
    labels: tuple[int, ...]
    names: tuple[str, ...]
    rest: tuple[Callable[[int], Tensor], Callable[[int], Tensor]]


def card_outliers(
    card: Card, data_root: Path | None, normal: Normal, count: int, seed: int
) -> Outliers:
    """Collect the outliers of a card.

    Every tenth image of a source is held out, the same ones for every seed. The seed decides which
    of the others are used if there are too many, and what synthetic outliers look like.

    Args:
        card: names the sources.
        data_root: folder of the sources.
        normal: the normal images.
        count: largest number of outliers to train with; a tenth of it is held out.
        seed: of the choice.

    Raises:
        UserError: none of the sources is available, or one is damaged.
    """
    exposure = card.exposure
    found = [(source, share) for source, share in exposure.of if is_available(source, data_root)]
    if not found:
        source = exposure.of[0][0]
        if source.hub:  # fetches it, or tells why not
            open_source(source, data_root, card.channels, (card.size, card.size))
        names = " or ".join(source.name for source, _ in exposure.of)
        raise UserError(
            f"{card.id} needs outliers ({names}), which {data_root or 'no data root'} does not "
            f"hold; {how_to_get(source, data_root)}."
        )
    if exposure.use == "first":
        found = found[:1]
    total = sum(share for _, share in found)
    parts: list[Outliers] = []
    for source, share in found:
        some = max(1, int(count * share / total))
        parts.append(_of_source(source, card, data_root, normal, some, seed))
    judged = [part.judge for part in parts if part.judge is not None]
    return Outliers(
        torch.cat([part.train for part in parts]),
        torch.cat([part.validation for part in parts]),
        " and ".join(part.source for part in parts),
        torch.cat(judged) if judged else None,
    )


def padded(images: Tensor, pad: int) -> Tensor:
    """Add `pad` black pixels on all sides of (N, C, H, W) images."""
    return functional.pad(images, (pad,) * 4) if pad else images


def _of_source(
    source: Source, card: Card, data_root: Path | None, normal: Normal, count: int, seed: int
) -> Outliers:
    held_out = max(1, round(_HELD_OUT * count))
    if source.name == SYNTHETIC:
        train = synthetic_outliers(normal.train, count, seed)
        validation = synthetic_outliers(normal.validation, held_out, seed + 1)
        return Outliers(train, validation, SYNTHETIC, None)
    if source.name == ALTERED:
        train = altered_images(normal.train, count, seed)
        validation = altered_images(normal.validation, held_out, seed + 1)
        return Outliers(train, validation, "altered normal images", None)
    if source.name == REST:
        train, validation = normal.rest[0](count), normal.rest[1](held_out)
        if not len(train) or not len(validation):
            raise UserError(
                f"{card.file}: every class of {card.id} is normal or an anomaly, so that there is "
                f"no {REST} for outliers; name another source."
            )
        return Outliers(train, validation, "classes that are neither normal nor anomalies", None)
    if source.name == LETTERS:
        train_letters, held, name = outlier_letters(data_root, count, held_out, normal.labels, seed)
        letters = (train_letters.images, held.images, judge_letters(data_root))
        drawn = [padded(part, card.pad).expand(-1, card.channels, -1, -1) for part in letters]
        return Outliers(
            _some(drawn[0], count, seed), _some(drawn[1], held_out, seed), name, drawn[2]
        )
    named = open_source(source, data_root, card.channels, (card.size, card.size))
    lazy = named.scan("train")
    avoided = {n for own in normal.names for n in card.exposure.avoid.get(own, ())}
    some = round(_HELD_OUT * len(lazy))
    at_held, at_rest = stratified(lazy.labels, some, generator(0, "held-out outliers"))
    if not len(at_rest):
        raise UserError(f"{named.folder} has too few images for outliers; add at least 20.")
    images = lazy.read()
    judge_at = at_rest[torch.randperm(len(at_rest), generator=generator(0, "judge outliers"))]
    keep = torch.tensor([name not in avoided for name in images.class_names])
    without = f" without {', '.join(sorted(avoided & set(images.class_names)))}"

    def chosen(at: Tensor, most: int) -> Tensor:
        part: LabelledImages = images.take(at[keep[images.labels[at]]])
        return padded(_some(part.images, most, seed), card.pad)

    return Outliers(
        chosen(at_rest, count),
        chosen(at_held, held_out),
        source.title + (without if avoided & set(images.class_names) else ""),
        padded(images.images[judge_at[:_JUDGE_OUTLIERS]], card.pad),
    )


def _some(images: Tensor, count: int, seed: int) -> Tensor:
    """At most `count` random images."""
    order = torch.randperm(len(images), generator=generator(seed, "choice of outliers"))
    return images[order[:count]]
