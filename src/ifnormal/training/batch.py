"""TrainingBatch: the images of one step, with a target and every concept for each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.compute import channels_last
from ifnormal.common.pixels import to_float
from ifnormal.training.images import TrainingImages
from ifnormal.training.networks.augmentation import augment, is_wanted
from ifnormal.training.state import TrainingState

# Pairs whose score had to move by more than this share of the way from normal to outlier show what
# a concept does; the rest are identities.
_MOVED = 0.5


@dataclass(frozen=True)
class TrainingBatch:
    """Images of one step. Rows run over concepts first: row k·B + i is image i in concept k."""

    images: Tensor
    scores: Tensor
    features: Tensor
    modes: Tensor
    targets: Tensor
    wanted_scores: Tensor
    moved_from: float  # a score that has to change by more than this had to move
    concepts: Tensor
    path: Tensor  # (P, 2) rows: of a half-way edit and of the full edit of the same image
    real_images: Tensor
    real_scores: Tensor
    real_modes: Tensor
    sources: Tensor  # (K·B, C, H, W) what synthetic outliers were made of
    restored: Tensor  # (K·B,) how much each row must become its source
    augmented: bool  # whether the discriminator sees its images varied

    @property
    def moved(self) -> Tensor:
        """(K·B,) bool: the score had to move, so the edit must show its concept."""
        return (self.wanted_scores - self.scores).abs() > self.moved_from

    @property
    def edited_modes(self) -> Tensor:
        """(K·B, K) weights of the modes that edits belong to: the concept's own mode if moved."""
        own = F.one_hot(self.concepts, self.modes.shape[1]).to(self.modes.dtype)
        return torch.where(self.moved[:, None], own, self.modes)

    def augment(self, images: Tensor, random: torch.Generator) -> Tensor:
        """Images as the discriminator sees them."""
        return channels_last(augment(images, random)) if self.augmented else images


def draw_batch(images: TrainingImages, state: TrainingState) -> TrainingBatch:
    """Draw images, targets and every concept of each."""
    config, generator = state.config, state.random
    size, concepts = config.batch_size, config.concepts
    zeros = round(size * config.targets_zero)
    ones = min(round(size * config.targets_one), size - zeros)
    # Half-way targets reuse images that also get the full edit, so that the path has both ends.
    halves = size - zeros - ones
    rows = torch.arange(size)
    rows[zeros + ones :] = torch.arange(halves) % max(zeros, 1) if zeros else rows[zeros + ones :]
    # Where α is what the image has already there is little to learn, so most of them have to move.
    share = torch.full((size,), config.moved_share)
    share[zeros : zeros + ones] = 1 - config.moved_share
    index = images.draw(share, generator)[rows]
    uniform = torch.rand(halves, generator=generator)
    targets = torch.cat([torch.zeros(zeros), torch.ones(ones), uniform]).to(images.device)
    targets = targets.repeat(concepts)
    concept = torch.arange(concepts, device=images.device).repeat_interleave(size)
    ends = torch.arange(zeros + ones, size)
    path = torch.stack([ends, rows[ends]], 1) if zeros else torch.zeros(0, 2, dtype=torch.long)
    real = images.draw(torch.full((size * concepts,), 0.5), generator)
    # Only in the concept whose mode the source is of: the others lead elsewhere.
    source = images.sources[index].clamp_min(0)
    is_known = (images.sources[index] >= 0).repeat(concepts)
    return TrainingBatch(
        images=channels_last(to_float(images.images[index])).repeat(concepts, 1, 1, 1),
        scores=images.scores[index].repeat(concepts),
        features=images.features[index].repeat(concepts, 1),
        modes=images.modes[index].repeat(concepts, 1),
        targets=targets,
        wanted_scores=images.typical_score(targets, concept),
        moved_from=_MOVED * float(images.typical_outlier - images.typical_normal.mean()),
        concepts=concept,
        path=torch.cat([path + k * size for k in range(concepts)]),
        real_images=channels_last(to_float(images.images[real])),
        real_scores=images.scores[real],
        real_modes=images.modes[real],
        sources=channels_last(to_float(images.images[source])).repeat(concepts, 1, 1, 1)
        if is_known.any()
        else torch.zeros(0),
        restored=is_known * (targets == 0) * images.modes[source].T.flatten(),
        augmented=is_wanted(config.augment, images.normal),
    )
