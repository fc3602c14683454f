"""PatchCore: distance to the nearest patch features of normal images, wherever they lie.

Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler, "Towards Total Recall in Industrial Anomaly
Detection", CVPR 2022.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ifnormal.data.sampling import generator
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.feature_detector import PatchDetector, mean_of_largest

_SHARE = 0.1  # of the patches that the memory keeps
_MOST_PATCHES, _MOST_KEPT = 40_000, 4_000  # so that thousands of images take seconds
_PROJECTED = 64  # features in which the coreset is chosen
_TINY = 1e-4
_NEIGHBOURS = 9  # b of equation 7


class PatchCore(PatchDetector):
    """A coreset of normal patches; an image scores the distances of its most unusual patches.

    The memory has a tenth of the patches of the training images, and at most 4,000 of 40,000 random
    ones. Features are divided by their deviations over normal patches, as equation 7 depends on
    their scale, and an image scores the mean of its largest 2 % of distances where the paper takes
    the largest.
    """

    memory: Tensor
    deviation: Tensor

    def fit(self, setup: AnomalySetup, seed: int, log: Path | None = None) -> None:
        """Fill the memory; see `BuiltinDetector.fit`."""
        patches = self.normal_patches(setup, seed).permute(0, 2, 3, 1).flatten(0, 2)
        rng = generator(seed, "patches of normal images")
        some = patches[torch.randperm(len(patches), generator=rng)[:_MOST_PATCHES]]
        self.register_buffer("deviation", some.std(0).clamp_min(_TINY))
        some = some / self.deviation
        count = max(1, min(round(_SHARE * len(some)), _MOST_KEPT))
        projection = torch.randn(some.shape[1], _PROJECTED, generator=rng) / _PROJECTED**0.5
        self.register_buffer("memory", some[farthest_points(some @ projection, count)])

    def distances(self, patches: Tensor) -> Tensor:
        """Distances (N, h, w) of patch features (N, F, h, w) to the nearest in memory."""
        return self._nearest(patches)[0].unflatten(1, patches.shape[2:])

    def raw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Re-weighted distances of the worst patches (N,) (equation 7), and mean patches (N, F)."""
        patches = self.patches(images)
        distances, nearest = self._nearest(patches)
        place = distances.argmax(1)
        rows = torch.arange(len(images), device=patches.device)
        patch = patches.flatten(2)[rows, :, place] / self.deviation
        match = self.memory[nearest[rows, place]]
        around = _distances(match, self.memory).topk(
            min(_NEIGHBOURS, len(self.memory)), 1, largest=False
        )
        apart = (patch[:, None] - self.memory[around.indices]).square().sum(2).clamp_min(1e-12)
        # The match itself is the first of its neighbours. A memory of one patch has no others.
        weight = 1 - apart.sqrt().softmax(1)[:, 0] if apart.shape[1] > 1 else 1.0
        return weight * mean_of_largest(distances), patches.mean((2, 3))

    def _nearest(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Distances (N, h·w) to the nearest patch in memory, and its number."""
        flat = patches.flatten(2).mT.flatten(0, 1) / self.deviation
        with torch.no_grad():
            number = torch.cat(
                [_distances(part, self.memory).argmin(1) for part in flat.split(4096)]
            )
        # By the difference and not by cdist, whose gradient is not finite where it is 0.
        apart = (flat - self.memory[number]).square().sum(1).clamp_min(1e-12).sqrt()
        shape = (len(patches), -1)
        return apart.view(shape), number.view(shape)


def farthest_points(points: Tensor, count: int) -> Tensor:
    """Numbers (count,) of points (N, F), each the farthest from those before it (algorithm 1).

    The first is the farthest from the mean.
    """
    chosen = [int((points - points.mean(0)).square().sum(1).argmax())]
    squares = points.square().sum(1)
    apart = torch.full((len(points),), torch.inf)
    for _ in range(count - 1):
        last = points[chosen[-1]]
        apart = torch.minimum(apart, squares - 2 * (points @ last) + last.square().sum())
        chosen.append(int(apart.argmax()))
    return torch.tensor(chosen)


def _distances(points: Tensor, memory: Tensor) -> Tensor:
    """Squared distances (N, M) up to a constant of each row."""
    return memory.square().sum(1) - 2 * points @ memory.mT
