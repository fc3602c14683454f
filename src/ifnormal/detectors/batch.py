"""What a built-in detector sees in one step of its training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.config import DetectorConfig
from ifnormal.data.setup import AnomalySetup
from ifnormal.data.synthetic.confetti import throw_confetti
from ifnormal.detectors.augmentation import is_wanted, move, vary
from ifnormal.pixels import to_float

_SHIFT = 2
_LABELLED = 0.25  # of the outliers in a batch, where there are labelled anomalies


@dataclass(frozen=True)
class Batch:
    """Images of one step: normal ones, then outliers of whatever kind.

    Attributes:
        images: (N, C, H, W) in [0, 1], a little varied or shifted.
        is_outlier: (N,) bool.
        masks: (N, H, W) bool, where an image is anomalous, as far as known.
        is_located: (N,) bool, whether `masks` tells everything about an image, as it does about
            every normal one.
    """

    images: Tensor
    is_outlier: Tensor
    masks: Tensor
    is_located: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(
            self.images.to(device),
            self.is_outlier.to(device),
            self.masks.to(device),
            self.is_located.to(device),
        )


def draw_batch(
    setup: AnomalySetup, outliers: bool, config: DetectorConfig, rng: torch.Generator
) -> Batch:
    """Draw normal images and, if `outliers` are wanted, as many outliers.

    These are outlier exposure, confetti thrown on further normal images as far as configured, and
    the setup's labelled anomalies where it has any, a quarter of them.
    """
    size = config.batch_size
    count = size // 2 if outliers else 0
    known = setup.labelled_anomalies
    labelled = 0 if known is None or not len(known) else round(_LABELLED * count)
    confetti = round(config.confetti * (count - labelled))
    exposed = count - labelled - confetti
    images, masks = [_draw(setup.train_normal, size - count + confetti, rng)], []
    if exposed:
        images.append(_draw(setup.outliers, exposed, rng))
    if labelled and known is not None and setup.labelled_masks is not None:
        chosen = torch.randint(len(known), (labelled,), generator=rng)
        images.append(known[chosen])
        masks.append(setup.labelled_masks[chosen])
    everything = to_float(torch.cat(images))
    marked = torch.zeros(len(everything), *everything.shape[2:], dtype=torch.bool)
    if masks:
        marked[-labelled:] = masks[0]
    everything, marked = _varied(everything, marked, setup, config, rng)
    if confetti:
        first = size - count
        thrown = slice(first, first + confetti)
        everything[thrown], marked[thrown] = throw_confetti(everything[thrown], rng)
    place = torch.arange(size)
    is_exposed = (place >= size - count + confetti) & (place < size - labelled)
    return Batch(everything, place >= size - count, marked, ~is_exposed)


def _varied(
    images: Tensor,
    masks: Tensor,
    setup: AnomalySetup,
    config: DetectorConfig,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Images and masks, varied or shifted in the same way."""
    if is_wanted(config, len(setup.train_normal)):
        state = rng.get_state()
        varied = vary(images, config, rng)
        if masks.any():
            again = torch.Generator()
            again.set_state(state)
            moved = vary(masks[:, None].float(), replace(config, brightness=0.0), again)
            masks = moved[:, 0] > 0.5
        return varied, masks
    if config.network == "residual" or config.flip != "none":
        moved = move(torch.cat([images, masks[:, None].to(images.dtype)], 1), config, rng)
        return moved[:, :-1], moved[:, -1] > 0.5
    dx, dy = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=rng).tolist()
    height, width = images.shape[2:]
    rows = slice(_SHIFT + dy, _SHIFT + dy + height)
    columns = slice(_SHIFT + dx, _SHIFT + dx + width)
    edge = (_SHIFT, _SHIFT, _SHIFT, _SHIFT)
    return F.pad(images, edge)[:, :, rows, columns], F.pad(masks, edge)[:, rows, columns]


def _draw(images: Tensor, count: int, rng: torch.Generator) -> Tensor:
    return images[torch.randint(len(images), (count,), generator=rng)]
