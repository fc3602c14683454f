"""Features: the network that FID, KID and perceptual distances are measured in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
