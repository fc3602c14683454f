"""Features: the network that FID, KID and perceptual distances are measured in; sets of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Features(Protocol):
    """Whatever turns images into features; an `AttributeJudge` and a `SecondOpinion` do.

    Images come in as (..., C, H, W) uint8, with any leading shape, which is flattened to N.
    """

    @property
    def extractor(self) -> str:
        """The name of the features, without which no figure of them means anything."""
        ...

    def features(self, images: Tensor) -> Tensor:
        """(N, F) float32 on the CPU."""
        ...

    def maps(self, images: Tensor) -> Sequence[Tensor]:
        """Feature maps of one batch, (N, C', H', W') each, none negative."""
        ...


def two_sets(metric: str, features_a: Tensor, features_b: Tensor) -> tuple[Tensor, Tensor]:
    """Two sets of features, (N, F) and (M, F), as float64 without a gradient.

    Raises:
        ValueError: the metric of that name has no meaning for them: the shapes do not fit, a set
            has fewer than 2 samples, or a feature is not finite.
    """
    import torch

    if features_a.ndim != 2 or features_a.shape[1:] != features_b.shape[1:]:
        raise ValueError(
            f"{metric} needs (N, F) and (M, F), got {features_a.shape}, {features_b.shape}"
        )
    if min(len(features_a), len(features_b)) < 2:
        raise ValueError(f"{metric} needs at least 2 samples in each set")
    a, b = features_a.detach().double(), features_b.detach().double()
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise ValueError(f"{metric} needs finite features")
    return a, b
