"""A small classifier of (before, after) pairs, trained from nothing in seconds."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

_BATCH = 64


class PairClassifier(nn.Module):
    """(B, 2C, H, W) pairs in [0, 1] -> (B, K) logits."""

    def __init__(self, channels: int, concepts: int, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels + channels // 2
        for outputs in (width, 2 * width, 4 * width):
            layers += [
                nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            inputs = outputs
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * inputs, concepts)

    def forward(self, images: Tensor) -> Tensor:
        """Read before, after and their difference; pool by mean and by maximum."""
        before, after = images.chunk(2, 1)
        maps = self.body(torch.cat([before, after, after - before], 1))
        logits: Tensor = self.head(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1))
        return logits


def pairs(anomalies: Tensor, counterfactuals: Tensor) -> Tensor:
    """(N, C, H, W) and (N, K, C, H, W) -> (N·K, 2C, H, W), concepts running fastest."""
    before = anomalies[:, None].expand_as(counterfactuals)
    return torch.cat([before, counterfactuals], 2).flatten(0, 1)


def train_pair_classifier(images: Tensor, concepts: int, seed: int, steps: int) -> PairClassifier:
    """Train on `pairs`' output, (N·K, 2C, H, W) uint8; the same seed gives the same weights."""
    rng = Generator().manual_seed(seed)
    labels = torch.arange(len(images)) % concepts
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PairClassifier(images.shape[1], concepts)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=max(steps, 2))
    for _ in range(steps):
        chosen = torch.randint(len(images), (_BATCH,), generator=rng)
        loss = functional.cross_entropy(network(images[chosen].float() / 255), labels[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return network.eval()
