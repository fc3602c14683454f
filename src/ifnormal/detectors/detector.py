"""Detector: the base class of everything that can be explained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ifnormal.common.pixels import to_float
from ifnormal.explanation.entries import HigherIs


class Detector(ABC):
    """A frozen, differentiable anomaly detector φ.

    A subclass sets `shape` and `threshold` and defines `inspect`; all other members have defaults.
    One that is a torch module derives from `nn.Module` first: `class Mine(nn.Module, Detector)`.

    A detector has units of its own where its users know its scores on another scale than [0, 1].
    It then defines `own_units` and `own_threshold` together, and `higher_is` where a high score in
    these units means normal.

    Attributes:
        shape: (C, H, W) of the images it takes.
        threshold: in [0, 1]; images with a higher score are flagged as anomalous.
        higher_is: what a high score in the detector's own units means.
        is_black_box: it has no gradient, so that it is explained through a surrogate.
        facts: what is saved about the detector beside a result; JSON-compatible.
        heatmap: (N, C, H, W) float images in [0, 1] -> (N, H, W) in any units, high where an image
            is anomalous; None where the detector makes no heatmap.
    """

    shape: tuple[int, int, int]
    threshold: float
    higher_is: HigherIs = "anomalous"
    is_black_box: bool = False
    facts: Mapping[str, Any] = MappingProxyType({})
    heatmap: Callable[[Tensor], Tensor] | None = None

    @abstractmethod
    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (N,) of the scores, and penultimate features (N, F), of images in [0, 1].

        Log-odds, because a score close to 0 or 1 has no gradient left.
        """

    def __call__(self, images: Tensor) -> Tensor:
        """Scores (N,) in [0, 1], 0 normal, of (N, C, H, W) float images in [0, 1]."""
        return self.inspect(images)[0].sigmoid()

    def own_units(self, log_odds: Tensor) -> Tensor:
        """Log-odds of any shape as scores in the detector's own units; by default in [0, 1]."""
        return log_odds.sigmoid()

    @property
    def own_threshold(self) -> float:
        """The decision threshold in the detector's own units."""
        return float(self.threshold)

    def save(self, folder: Path) -> None:  # noqa: B027
        """Write what `load_detector` reads; by default nothing, as the detector has to be given."""

    def torch_module(self) -> nn.Module | None:
        """The module whose weights are moved to a device; None where there is none."""
        return self if isinstance(self, nn.Module) else None


def batch_size_for(images: Tensor, gradients: bool = False) -> int:
    """How many of (N, C, H, W) images to score at once: 512 of 32x32 pixels, fewer larger ones.

    With `gradients` a quarter of that, as they take several times the memory of scores.
    """
    most = 128 if gradients else 512
    return max(1, min(most, most * 32 * 32 // max(1, images.shape[-1] * images.shape[-2])))


def in_batches(
    function: Callable[[Tensor], Tensor], images: Tensor, batch_size: int | None = None
) -> Tensor:
    """Apply `function` to (N, C, H, W) uint8 images as [0, 1] floats, batch by batch, no gradient.

    The result is float32 on the CPU.
    """
    size = batch_size or batch_size_for(images)
    with torch.no_grad():
        parts = [function(to_float(part)).float().cpu() for part in images.split(size)]
    return torch.cat(parts)


def device_of(detector: Detector) -> torch.device:
    """Where a detector computes: where its first weight is, else the CPU."""
    module = detector.torch_module()
    tensors = [] if module is None else [*module.parameters(), *module.buffers()]
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def move_to(detector: Detector, device: torch.device) -> None:
    """Move the weights of a detector to a device, if it has any."""
    module = detector.torch_module()
    if module is not None:
        module.to(device)


def log_odds_of(detector: Detector, images: Tensor) -> Tensor:
    """Calibrated log-odds (N,) on the CPU of (N, C, H, W) uint8 images, scored where it computes.

    Batch by batch, without a gradient.
    """
    device = device_of(detector)
    return in_batches(lambda part: detector.inspect(part.to(device))[0], images)
