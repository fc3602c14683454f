"""PairClassifier: reads an image before and after an edit and predicts the concept of the edit."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from ifnormal.evaluation.small_classifier import SmallClassifier, train_classifier


class PairClassifier(nn.Module):
    """(B, 2C, H, W) pairs in [0, 1] -> (B, K) logits."""

    def __init__(self, channels: int, concepts: int) -> None:
        super().__init__()
        self.network = SmallClassifier(channels + channels // 2, concepts)

    def forward(self, images: Tensor) -> Tensor:
        """Read before, after and their difference."""
        before, after = images.chunk(2, 1)
        logits: Tensor = self.network(torch.cat([before, after, after - before], 1))
        return logits


def pairs(anomalies: Tensor, counterfactuals: Tensor) -> Tensor:
    """(N, C, H, W) and (N, K, C, H, W) -> (N·K, 2C, H, W), concepts running fastest."""
    before = anomalies[:, None].expand_as(counterfactuals)
    return torch.cat([before, counterfactuals], 2).flatten(0, 1)


def train_pair_classifier(images: Tensor, concepts: int, seed: int, steps: int) -> nn.Module:
    """Train on `pairs`' output, (N·K, 2C, H, W) uint8; the same seed gives the same weights."""
    rng = Generator().manual_seed(seed)
    labels = torch.arange(len(images)) % concepts
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PairClassifier(images.shape[1], concepts)
    return train_classifier(network, images, labels, rng, steps)
