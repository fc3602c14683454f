"""The surrogate that stands in for a black box in a fit: distilled before, compared after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ifnormal.common.compute import channels_last
from ifnormal.common.pixels import quantize, to_float
from ifnormal.config import FitConfig
from ifnormal.detectors.black_box.distillation import Distillation
from ifnormal.detectors.detector import Detector
from ifnormal.training.checkpoint import Checkpoint
from ifnormal.training.images import TrainingImages
from ifnormal.training.state import TrainingState

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_BATCH = 128


def distil(
    detector: Detector,
    normal: Tensor,
    outliers: Tensor,
    config: FitConfig,
    seed: int,
    fabric: Fabric,
    checkpoint: Checkpoint | None,
) -> Distillation:
    """The distillation of a black box, as it is before the first step or as the checkpoint has it.

    Raises:
        UserError: the images cannot be used, or the checkpoint is of others.
    """
    TrainingImages.require_usable(detector, normal, outliers, config.concepts)
    distillation = Distillation(detector, normal, outliers, config.surrogate, seed, fabric)
    if checkpoint is None:
        distillation.begin()
    else:
        facts = checkpoint.facts["surrogate"]
        distillation.restore(checkpoint.folder, checkpoint.tensors, facts)
    return distillation


@torch.no_grad()
def fresh_edits(images: TrainingImages, state: TrainingState, count: int) -> Tensor:
    """(count, C, H, W) uint8 counterfactuals of outliers by the generator that explains.

    They are drawn with a random state of their own, so that the state of the fit stays as it is.
    """
    random, concepts = torch.Generator().manual_seed(state.seed), state.config.concepts
    parts = []
    for size in torch.ones(count).split(_BATCH):
        index = images.draw(torch.ones(len(size)), random)
        concept = torch.arange(len(size), device=images.device) % concepts
        target = torch.zeros(len(size), device=images.device)
        edited, _ = state.averaged(channels_last(to_float(images.images[index])), target, concept)
        parts.append(quantize(edited))
    return torch.cat(parts)
