"""Points in the plane whose density is known: what a generator's distribution is compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# Cells of the histogram along each side of the square [-REACH, REACH]²; what is outside counts as
# one more cell.
CELLS, REACH = 24, 4.0


@dataclass(frozen=True)
class ToyDensity:
    """A mixture of Gaussians with independent coordinates.

    Attributes:
        weights: (M,) shares of the components; they sum to 1.
        means: (M, 2).
        deviations: (M, 2).
    """

    weights: Tensor
    means: Tensor
    deviations: Tensor

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """(count, 2) points."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=rng)
        noise = torch.randn(count, 2, generator=rng)
        return self.means[which] + self.deviations[which] * noise

    def cells(self) -> Tensor:
        """(CELLS² + 1,) exact probabilities of the cells; the last one of everything outside."""
        edges = torch.linspace(-REACH, REACH, CELLS + 1)
        standard = (edges - self.means[:, :, None]) / self.deviations[:, :, None]
        below = (1 + torch.erf(standard / math.sqrt(2))) / 2
        along = below.diff(dim=2)  # (M, 2, CELLS)
        grid = torch.einsum("m,mi,mj->ij", self.weights, along[:, 0], along[:, 1]).flatten()
        return torch.cat([grid, (1 - grid.sum()).clamp_min(0)[None]])


def two_clouds() -> ToyDensity:
    """Three quarters normal, around (-1, 0.4); a quarter anomalous, around (1, -0.4)."""
    return ToyDensity(
        weights=torch.tensor([0.75, 0.25]),
        means=torch.tensor([[-1.0, 0.4], [1.0, -0.4]]),
        deviations=torch.tensor([[0.6, 0.8], [0.5, 0.5]]),
    )


def histogram(points: Tensor) -> Tensor:
    """(CELLS² + 1,) shares of (N, 2) points in each cell, in the order of `ToyDensity.cells`."""
    index = ((points + REACH) * (CELLS / (2 * REACH))).floor().long()
    outside = ((index < 0) | (index >= CELLS)).any(1)
    cell = torch.where(outside, CELLS**2, index[:, 0] * CELLS + index[:, 1])
    return torch.bincount(cell, minlength=CELLS**2 + 1) / len(points)


def total_variation(shares: Tensor, probabilities: Tensor) -> float:
    """½ Σ |q − p| over cells, in [0, 1]: a lower bound of that of the densities."""
    return 0.5 * (shares - probabilities).abs().sum().item()


def divergence(shares: Tensor, probabilities: Tensor) -> float:
    """KL(q ‖ p) over cells in nats; a cell that p never visits counts as visited once in 10⁹."""
    visited = shares > 0
    ratio = shares[visited] / probabilities[visited].clamp_min(1e-9)
    return (shares[visited] * ratio.log()).sum().item()
