"""Residual of a convolutional autoencoder that knows normal images only (Bergmann et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ifnormal.benchmarks.heatmaps.heatmap import HeatFunction, Heatmap
from ifnormal.common.compute import channels_last, make_fabric
from ifnormal.common.errors import DivergenceError
from ifnormal.common.pixels import to_float
from ifnormal.common.progress import Progress
from ifnormal.detectors.detector import Detector, in_batches
from ifnormal.explainers.heatmap import blurred

_STEPS, _BATCH, _RATE, _STEEPEST = 600, 32, 1e-3, 1.0
_WIDTH, _CODE, _GRID, _COARSE = 32, 64, 4, 96
_REPORT_EVERY = 25
_WORST = 1.0  # squared error that any constant image in [0, 1] stays below


class Autoencoder(nn.Module):
    """Encodes images as `_CODE` numbers, too few to restore what no normal image shows.

    It reads and writes cells of 2x2 pixels; from 96 pixels on, of 4x4.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = shape
        cell = 2 if max(height, width) < _COARSE else 4
        grid, wide = min(height, width) // cell, _WIDTH
        down = [nn.PixelUnshuffle(cell), nn.Conv2d(cell**2 * channels, wide, 3, 1, 1), _bent()]
        up = [nn.Conv2d(wide, cell**2 * channels, 3, 1, 1), nn.PixelShuffle(cell)]
        while grid > 2 * _GRID - 1:
            wider = min(4 * _WIDTH, 2 * wide)
            down += [nn.Conv2d(wide, wider, 4, 2, 1), _bent()]
            up = [nn.Upsample(scale_factor=2), nn.Conv2d(wider, wide, 3, 1, 1), _bent(), *up]
            grid, wide = grid // 2, wider
        numbers = wide * _GRID**2
        self.size = height, width
        self.down = nn.Sequential(*down, nn.AdaptiveAvgPool2d(_GRID), nn.Flatten())
        self.code = nn.Linear(numbers, _CODE)
        self.back = nn.Sequential(nn.Linear(_CODE, numbers), _bent())
        self.up = nn.Sequential(nn.Unflatten(1, (wide, _GRID, _GRID)), *up)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images in [0, 1], restored from their codes."""
        restored = self.up(self.back(self.code(self.down(images))))
        return F.interpolate(restored, self.size, mode="bilinear", align_corners=False)


def _bent() -> nn.Module:
    return nn.LeakyReLU(0.1)


def train_autoencoder(normal: Tensor, seed: int, steps: int) -> Autoencoder:
    """Train an autoencoder on normal images (N, C, H, W) uint8; returns it frozen.

    Raises:
        DivergenceError: its error ends above that of a constant image.
    """
    channels, height, width = normal.shape[1:]
    fabric = make_fabric()
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    network = Autoencoder((channels, height, width)).to(fabric.device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=1e-4, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    with Progress("autoencoder", steps, None) as progress:
        for step in range(1, steps + 1):
            chosen = torch.randint(len(normal), (_BATCH,), generator=rng)
            images = to_float(normal[chosen]).to(fabric.device)
            with fabric.autocast():
                restored = network(channels_last(images))
            loss = F.mse_loss(restored.float(), images)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            torch.nn.utils.clip_grad_norm_(network.parameters(), _STEEPEST)
            optimizer.step()
            schedule.step()
            if step % _REPORT_EVERY == 0 or step == steps:
                progress.report(step, {"loss": loss.item()})
    if not loss.item() < _WORST:
        raise DivergenceError(
            f"The autoencoder's error became {loss.item():.3g}; leave this heatmap out."
        )
    network = network.cpu().to(memory_format=torch.contiguous_format)
    return network.eval().requires_grad_(False)


def residual(network: nn.Module, images: Tensor) -> Tensor:
    """Squared error (N, H, W) of the restored images (N, C, H, W) uint8, blurred."""
    if not len(images):
        return torch.zeros(0, *images.shape[2:])
    error = in_batches(lambda part: (network(part) - part).square().mean(1), images)
    return blurred(error)


def _prepare(normal: Tensor, seed: int) -> HeatFunction:
    network = train_autoencoder(normal, seed, _STEPS)

    def heat(detector: Detector, images: Tensor) -> Tensor:
        return residual(network, images)

    return heat


AUTOENCODER = Heatmap(
    name="autoencoder",
    title="autoencoder residual",
    source="Bergmann et al. 2019, CVPR",
    prepare=_prepare,
)
