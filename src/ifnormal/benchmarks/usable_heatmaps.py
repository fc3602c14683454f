"""The heatmaps that can be made for a detector on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ifnormal.common.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from ifnormal.detectors.detector import Detector

# As in `HEATMAPS`, for tables, which load no torch.
TITLES = {
    "own": "the detector's own",
    "gradient": "input gradient",
    "integrated-gradients": "integrated gradients",
    "grad-cam": "Grad-CAM",
    "autoencoder": "autoencoder residual",
    "foreground": "where the thing is, no detector",
}


@dataclass(frozen=True)
class UsableHeatmaps:
    """Heatmaps of one detector, by their names in `HEATMAPS`.

    Attributes:
        make: name -> function from images (N, C, H, W) uint8 to heat (N, H, W).
        missing: name -> why a heatmap that applies cannot be made, such as without captum.
    """

    make: Mapping[str, Callable[[Tensor], Tensor]]
    missing: Mapping[str, str]


def usable_heatmaps(detector: Detector, normal: Tensor, seed: int) -> UsableHeatmaps:
    """Prepare every heatmap that applies; those that cannot be made are named in the log.

    Args:
        detector: the detector.
        normal: (N, C, H, W) uint8 normal images, for heatmaps that learn from them.
        seed: of the preparation.
    """
    from ifnormal.benchmarks.heatmaps import HEATMAPS

    make: dict[str, Callable[[Tensor], Tensor]] = {}
    missing: dict[str, str] = {}
    for name, heatmap in HEATMAPS.items():
        if not heatmap.applies(detector):
            continue
        try:
            make[name] = partial(heatmap.prepare(normal, seed), detector)
        except UserError as error:
            missing[name] = str(error)
            print(f"Heatmap left out, {heatmap.title}: {error}", file=sys.stderr)
    return UsableHeatmaps(make, missing)
