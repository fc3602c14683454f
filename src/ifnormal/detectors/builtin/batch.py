"""Batch: the images of one training step of a built-in detector."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.pixels import to_float
from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.synthetic.confetti import throw_confetti
from ifnormal.detectors.builtin.augmentation import augment, is_used, shift_and_flip
from ifnormal.detectors.builtin.objective import DetectorObjective

_SHIFT = 2
_LABELLED = 0.25  # of the outliers in a batch, where there are labelled anomalies


@dataclass(frozen=True)
class Batch:
    """Normal images, followed by outliers of all kinds.

    Attributes:
        images: (N, C, H, W) in [0, 1], augmented.
        is_outlier: (N,) bool.
        masks: (N, H, W) bool, where an image is anomalous: nowhere in a normal image, and
            everywhere in an outlier without a mask. None where no outlier has one.
    """

    images: Tensor
    is_outlier: Tensor
    masks: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        masks = None if self.masks is None else self.masks.to(device)
        return Batch(self.images.to(device), self.is_outlier.to(device), masks)


def draw_batch(
    setup: AnomalySetup, objective: DetectorObjective, config: DetectorConfig, rng: torch.Generator
) -> Batch:
    """Draw normal images and, for an objective that needs them, as many outliers.

    Outliers are outlier exposure, further normal images with confetti as configured, and, as a
    quarter of them, the labelled anomalies of the setup if there are any.
    """
    size = config.batch_size
    count = size // 2 if objective.needs_outliers else 0
    known, known_masks = setup.labelled_anomalies, setup.labelled_masks
    labelled = 0 if known is None or known_masks is None else round(_LABELLED * count)
    confetti = round(config.confetti * (count - labelled))
    exposed = count - labelled - confetti
    first = size - count
    normal = torch.randint(len(setup.train_normal), (first + confetti,), generator=rng)
    images = [setup.train_normal[normal]]
    masks = torch.zeros(size, *setup.shape[1:], dtype=torch.bool)
    masks[first:] = True
    if exposed:
        chosen = torch.randint(len(setup.outliers), (exposed,), generator=rng)
        images.append(setup.outliers[chosen])
        if setup.outlier_masks is not None:
            masks[first + confetti : size - labelled] = setup.outlier_masks[chosen]
    if labelled and known is not None and known_masks is not None:
        chosen = torch.randint(len(known), (labelled,), generator=rng)
        images.append(known[chosen])
        masks[size - labelled :] = known_masks[chosen]
    located = confetti or labelled or (exposed and setup.outlier_masks is not None)
    wanted = masks if located and objective.pixel_loss is not None else None
    everything, moved = _varied(to_float(torch.cat(images)), wanted, setup, config, rng)
    if confetti:
        part = slice(first, first + confetti)
        everything[part], where = throw_confetti(everything[part], rng)
        if moved is not None:
            moved[part] = where
    return Batch(everything, torch.arange(size) >= first, moved)


def _varied(
    images: Tensor,
    masks: Tensor | None,
    setup: AnomalySetup,
    config: DetectorConfig,
    rng: torch.Generator,
) -> tuple[Tensor, Tensor | None]:
    """Images and masks, augmented or shifted in the same way."""
    if is_used(config, len(setup.train_normal)):
        state = rng.get_state()
        varied = augment(images, config, rng)
        if masks is not None:
            again = torch.Generator()
            again.set_state(state)
            moved = augment(masks[:, None].float(), replace(config, brightness=0.0), again)
            masks = moved[:, 0] > 0.5
        return varied, masks
    if config.network == "residual":
        if masks is None:
            return shift_and_flip(images, config, rng), None
        moved = shift_and_flip(torch.cat([images, masks[:, None].to(images.dtype)], 1), config, rng)
        return moved[:, :-1], moved[:, -1] > 0.5
    dx, dy = torch.randint(-_SHIFT, _SHIFT + 1, (2,), generator=rng).tolist()
    height, width = images.shape[2:]
    rows = slice(_SHIFT + dy, _SHIFT + dy + height)
    columns = slice(_SHIFT + dx, _SHIFT + dx + width)
    edge = (_SHIFT, _SHIFT, _SHIFT, _SHIFT)
    shifted = F.pad(images, edge)[:, :, rows, columns]
    return shifted, None if masks is None else F.pad(masks, edge)[:, rows, columns]
