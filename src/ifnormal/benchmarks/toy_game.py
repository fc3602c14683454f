"""The paper's game between G and D on points of the plane, with small networks.

Derivation of what it converges to. With λ_φ = 0, and L_rec = L_cyc = 0 (which G(x, α) = x attains),
the game's value is V(G, D) = λ_gan (E_p[min(0, −1 + D(x))] + E_q[min(0, −1 − D(x̄))]), p the data's
density and q the generator's. Pointwise, D only gains within [−1, 1], where the integrand is
−p − q + (p − q) D(x); so D* = sign(p − q) and

    max_D V = λ_gan ∫ (−p − q + |p − q|) = −2 λ_gan (1 − TV(p, q)).

G minimises it: TV = 0, q = p and V* = −2 λ_gan (theorem 4.2). A flat φ gives L_φ no gradient, so
nothing changes but a constant. With λ_φ > 0 and a φ that is not flat, q = p is no longer optimal:
moving mass to where φ says α lowers λ_φ L_φ in the first order, and TV only costs 2 λ_gan times
that mass (theorem 4.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ifnormal.training import objective

Phi = Literal["flat", "sharp"]

LAMBDA_GAN = 1.0
_WIDTH, _BATCH = 64, 256
# Keeps D from circling around the equilibrium (R1, Mescheder et al. 2018).
_SLOPE_PENALTY = 0.2
_MEASURED = 20_000
_MEASURE_EVERY = 100
_AVERAGED = 0.995
# Log-odds of φ a unit along the first coordinate, on which normal and anomalous points differ.
_SLOPE = {"flat": 0.05, "sharp": 4.0}
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


@dataclass(frozen=True)
class ToyGame:
    """How the game is played.

    Attributes:
        score_weight: λ_φ.
        reconstruction_weight: λ_rec, of L_rec and L_cyc; 0 is the bare game of G and D.
        phi: "flat" knows next to nothing, "sharp" knows where normal is.
        steps: of both players.
        learning_rate: of both; falls to zero in the second half.
    """

    score_weight: float = 0.0
    reconstruction_weight: float = 1.0
    phi: Phi = "sharp"
    steps: int = 2000
    learning_rate: float = 2e-3


def play(game: ToyGame, density: ToyDensity, seed: int) -> list[dict[str, Any]]:
    """Train both players; returns one row of measurements for every 100 steps.

    A row has `step`; `total_variation` and `kl` of the generator's distribution against the known
    density; `value`, V with the best discriminator, −2 λ_gan (1 − TV) + λ_rec (L_rec + L_cyc),
    without λ_φ L_φ; `played`, the same with D as it is, which its slope penalty keeps from the
    best; `score`, L_φ; and `to_normal`, the share of points, in %, that lie on the normal side for
    α = 0.
    """
    rng = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator, discriminator = _network(3, 2), _network(2, 1)
        averaged = torch.optim.swa_utils.AveragedModel(
            generator, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(_AVERAGED)
        )
    for_g = torch.optim.Adam(generator.parameters(), game.learning_rate, betas=(0.5, 0.99))
    for_d = torch.optim.Adam(discriminator.parameters(), 2 * game.learning_rate, betas=(0.5, 0.99))
    cells, rows = density.cells(), []
    for step in range(game.steps + 1):
        if step % _MEASURE_EVERY == 0:
            rows.append(_measure(step, averaged, discriminator, game, density, cells, rng))
        share = min(1.0, 2 * (1 - step / game.steps))
        for_g.param_groups[0]["lr"] = share * game.learning_rate
        for_d.param_groups[0]["lr"] = 2 * share * game.learning_rate
        points, target = density.sample(_BATCH, rng), torch.rand(_BATCH, generator=rng)
        edited = edit(generator, points, target)
        real = density.sample(_BATCH, rng).requires_grad_(True)
        realness = discriminator(real)[:, 0]
        (slope,) = torch.autograd.grad(realness.sum(), real, create_graph=True)
        loss = objective.discriminator_loss(realness, discriminator(edited.detach())[:, 0])
        loss = loss + _SLOPE_PENALTY * slope.square().sum(1).mean()
        for_d.zero_grad()
        loss.backward()
        for_d.step()
        realness = discriminator(edited)[:, 0]
        total = LAMBDA_GAN * objective.generator_loss(realness, "linear")
        if game.reconstruction_weight:
            undone = _reconstruction(generator, points, edited, game.phi)
            total = total + game.reconstruction_weight * undone
        if game.score_weight:
            score = objective.score_loss(log_odds(edited, game.phi), target)
            total = total + game.score_weight * score
        for_g.zero_grad()
        total.backward()
        for_g.step()
        averaged.update_parameters(generator)
    return rows


def edit(generator: nn.Module, points: Tensor, target: Tensor) -> Tensor:
    """G(x, α): (N, 2) points and (N,) targets to (N, 2)."""
    edited: Tensor = generator(torch.cat([points, 2 * target[:, None] - 1], 1))
    return edited


def log_odds(points: Tensor, phi: Phi) -> Tensor:
    """(N,) log-odds of φ."""
    return _SLOPE[phi] * points[:, 0]


def _reconstruction(generator: nn.Module, points: Tensor, edited: Tensor, phi: Phi) -> Tensor:
    """L_rec + L_cyc."""
    scores = log_odds(points, phi).sigmoid()
    kept = edit(generator, points, scores)
    cycled = edit(generator, edited, scores)
    return objective.reconstruction_loss(points, kept) + objective.reconstruction_loss(
        points, cycled
    )


@torch.no_grad()
def _measure(
    step: int,
    generator: nn.Module,
    discriminator: nn.Module,
    game: ToyGame,
    density: ToyDensity,
    cells: Tensor,
    rng: torch.Generator,
) -> dict[str, Any]:
    points, target = density.sample(_MEASURED, rng), torch.rand(_MEASURED, generator=rng)
    edited = edit(generator, points, target)
    loss = objective.discriminator_loss(
        discriminator(density.sample(_MEASURED, rng))[:, 0], discriminator(edited)[:, 0]
    )
    undone = game.reconstruction_weight * _reconstruction(generator, points, edited, game.phi)
    shares = histogram(edited)
    apart = total_variation(shares, cells)
    asked = edit(generator, points, torch.zeros(_MEASURED))
    return {
        "step": step,
        "value": -2 * LAMBDA_GAN * (1 - apart) + undone.item(),
        "played": (-LAMBDA_GAN * loss + undone).item(),
        "score": objective.score_loss(log_odds(edited, game.phi), target).item(),
        "total_variation": apart,
        "kl": divergence(shares, cells),
        "to_normal": 100 * (log_odds(asked, "sharp") < 0).double().mean().item(),
    }


def _network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, _WIDTH),
        nn.LeakyReLU(0.1),
        nn.Linear(_WIDTH, _WIDTH),
        nn.LeakyReLU(0.1),
        nn.Linear(_WIDTH, outputs),
    )
