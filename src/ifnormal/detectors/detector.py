"""Detector: the one protocol that everything to be explained has to meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from ifnormal.common.pixels import to_float


class Detector(Protocol):
    """A frozen, differentiable anomaly detector φ: a callable with facts, not a framework.

    A detector may offer more, which the functions of this file read: `own_units`, `own_threshold`,
    `higher_is`, `facts`, `is_black_box`, `heatmap`.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images it takes."""
        ...

    @property
    def threshold(self) -> float:
        """Scores above it are flagged as anomalous."""
        ...

    def __call__(self, images: Tensor) -> Tensor:
        """Scores (N,) in [0, 1], 0 normal, of (N, C, H, W) float images in [0, 1]."""
        ...

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds (N,) of the scores and (N, F) penultimate features.

        Log-odds, because a score close to 0 or 1 has no gradient left.
        """
        ...


def is_detector(candidate: Any) -> bool:
    """Whether it meets the protocol: is callable, and has `inspect`, `shape` and `threshold`."""
    named = all(hasattr(candidate, name) for name in ("inspect", "shape", "threshold"))
    return callable(candidate) and named and not isinstance(candidate, type)


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
    """Where a detector computes."""
    tensors: list[Tensor] = []
    if isinstance(detector, nn.Module):
        tensors = [*detector.parameters(), *detector.buffers()]
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def log_odds_of(detector: Detector, images: Tensor) -> Tensor:
    """Calibrated log-odds (N,) on the CPU of (N, C, H, W) uint8 images, scored where it computes.

    Batch by batch, without a gradient.
    """
    device = device_of(detector)
    return in_batches(lambda part: detector.inspect(part.to(device))[0], images)


def own_scores(detector: Detector, log_odds: Tensor) -> Tensor:
    """Log-odds of any shape in the user's own units, as the model itself would score.

    A detector with `own_units` has units of its own; for any other they are the scores in [0, 1].
    """
    convert = getattr(detector, "own_units", torch.sigmoid)
    scores: Tensor = convert(log_odds)
    return scores


def own_threshold(detector: Detector) -> float:
    """The decision threshold in the user's own units."""
    return float(getattr(detector, "own_threshold", detector.threshold))


def higher_is(detector: Detector) -> Literal["anomalous", "normal"]:
    """What a high score means in the user's own units."""
    return "normal" if getattr(detector, "higher_is", "anomalous") == "normal" else "anomalous"


def detector_facts(detector: Detector) -> dict[str, Any]:
    """What is worth saving about the detector beside a result; JSON-compatible."""
    return dict(getattr(detector, "facts", {}))


def own_heatmap(detector: Detector) -> Callable[[Tensor], Tensor] | None:
    """The heatmap that the detector itself makes, None where it makes none.

    (N, C, H, W) float images in [0, 1] -> (N, H, W) in units of its own, high where it is hot.
    """
    make: Callable[[Tensor], Tensor] | None = getattr(detector, "heatmap", None)
    return make


def is_black_box(detector: Detector) -> bool:
    """Whether it only returns scores: no gradient, explained through a surrogate."""
    return bool(getattr(detector, "is_black_box", False))
