"""A small image classifier, trained from nothing in seconds: for figures, never for explaining."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

_BATCH = 64
_SIDE = 64


class SmallClassifier(nn.Module):
    """(B, C, H, W) images -> (B, outputs) logits; larger ones are read at 64 pixels, for time."""

    def __init__(self, channels: int, outputs: int, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for wide in (width, 2 * width, 4 * width):
            layers += [
                nn.Conv2d(inputs, wide, 3, 2, 1, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU(),
            ]
            inputs = wide
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * inputs, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Pool what was found by mean and by maximum."""
        if max(images.shape[2:]) > _SIDE:
            images = functional.interpolate(images, (_SIDE, _SIDE), mode="area")
        maps = self.body(images)
        logits: Tensor = self.head(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1))
        return logits


def train_classifier(
    network: nn.Module, images: Tensor, labels: Tensor, rng: Generator, steps: int
) -> nn.Module:
    """Train on (N, C, H, W) uint8 images and (N,) int64 labels; the network, ready to be asked.

    Args:
        network: takes images in [0, 1] and returns logits.
        images: drawn with replacement, each as likely.
        labels: their classes.
        rng: draws the batches.
        steps: optimizer steps of 64 images.
    """
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
