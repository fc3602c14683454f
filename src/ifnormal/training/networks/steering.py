"""Steering: target α and concept k as the condition that the blocks of a generator receive."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEERING_WIDTH = 64
TARGET_FEATURES = 4


def steering_network(concepts: int) -> nn.Sequential:
    """A network from `steering_features` (N, K + 4) to a condition (N, 64)."""
    return nn.Sequential(
        nn.Linear(concepts + TARGET_FEATURES, STEERING_WIDTH),
        nn.SiLU(),
        nn.Linear(STEERING_WIDTH, STEERING_WIDTH),
        nn.SiLU(),
    )


def steering_features(target: Tensor, concept: Tensor, concepts: int) -> Tensor:
    """(N, K + 4) features of targets α (N,) in [0, 1] and of concepts k (N,) in 0..K-1."""
    one_hot = F.one_hot(concept, concepts).to(target.dtype)
    return torch.cat([one_hot, target_features(target)], 1)


def target_features(target: Tensor) -> Tensor:
    """(N,) targets in [0, 1] as (N, 4) smooth features, so that nearby targets act alike."""
    waves = [torch.sin(torch.pi * target), torch.cos(torch.pi * target)]
    return torch.stack([2 * target - 1, (2 * target - 1) ** 2, *waves], 1)
