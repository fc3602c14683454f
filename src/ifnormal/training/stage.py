"""A stage of a training: networks, a loss and a number of steps; resumable to the same weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ifnormal.common.checkpoint import restore_training, training_tensors
from ifnormal.common.errors import DivergenceError, UserError
from ifnormal.common.progress import Progress
from ifnormal.common.storage import load_tensors, save_tensors

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_REPORT_EVERY = 25
_WARM_UP = 0.05
_LOWEST = 0.01
_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class Player:
    """Networks with a loss of their own.

    Attributes:
        networks: what is trained, by name.
        loss: of one step, from a batch that it draws with the given randomness.
        betas: of its optimizer.
    """

    networks: Mapping[str, nn.Module]
    loss: Callable[[torch.Generator], Tensor]
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Stage:
    """What is trained, and how long.

    Attributes:
        name: of its files and its progress bar.
        players: take their steps one after the other.
        steps: optimizer steps of each.
        learning_rate: its peak, after a short warm-up; then it falls along half a cosine.
        ema: decay of the averaged weights.
        checkpoint_every: steps between checkpoints.
        material: what it learns from and how, to tell its checkpoint from others; JSON-compatible.
    """

    name: str
    players: tuple[Player, ...]
    steps: int
    learning_rate: float
    ema: float
    checkpoint_every: int
    material: Mapping[str, Any]

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Those of all players."""
        return {name: net for player in self.players for name, net in player.networks.items()}


def train(
    stage: Stage, fabric: Fabric, seed: int, folder: Path | None = None, resume: bool = False
) -> Mapping[str, nn.Module]:
    """Train the networks of a stage; returns their averaged copies.

    Args:
        stage: what to do.
        fabric: where to compute. The networks are there already.
        seed: of its batches.
        folder: for its losses and its checkpoint, which the end of the training leaves there, so
            that a stage that is done is not done again.
        resume: go on from the checkpoint, to the same weights as without the break.

    Raises:
        DivergenceError: the loss became NaN or infinite.
        UserError: the checkpoint is damaged or was made of something else.
    """
    networks = stage.networks
    averaged = {name: deepcopy(net).requires_grad_(False) for name, net in networks.items()}
    weights = [weight for net in networks.values() for weight in net.parameters()]
    copies: list[Tensor] = [weight for net in averaged.values() for weight in net.parameters()]
    optimizers = [_optimizer(player, stage.learning_rate) for player in stage.players]
    random = torch.Generator().manual_seed(seed)
    step = 0
    if folder is not None and resume and (folder / f"{stage.name}.json").exists():
        step = _restore(stage, averaged, optimizers, random, folder)
    log = None if folder is None else folder / f"{stage.name}.jsonl"
    with Progress(stage.name, stage.steps, log, start=step) as progress:
        while step < stage.steps:
            rate = stage.learning_rate * _rate(step / stage.steps)
            losses = [
                _step(player, optimizer, rate, fabric, random, f"{stage.name}, step {step}")
                for player, optimizer in zip(stage.players, optimizers, strict=True)
            ]
            step += 1
            decay = min(stage.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(copies, [weight.detach() for weight in weights], 1 - decay)
            if step % _REPORT_EVERY == 0 or step == stage.steps:
                names = [next(iter(player.networks)) for player in stage.players]
                told = [loss.item() for loss in losses]
                progress.report(step, dict(zip(names, told, strict=True)))
            if folder is not None and (step % stage.checkpoint_every == 0 or step == stage.steps):
                _save(stage, averaged, optimizers, random, step, folder)
    return averaged


def _step(
    player: Player,
    optimizer: torch.optim.Optimizer,
    rate: float,
    fabric: Fabric,
    random: torch.Generator,
    where: str,
) -> Tensor:
    """One step of one player; returns its loss before."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    with fabric.autocast():
        loss = player.loss(random)
    if not bool(torch.isfinite(loss)):
        raise DivergenceError(
            f"The loss of the {where}, became {loss.item()}; lower its learning_rate."
        )
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    torch.nn.utils.clip_grad_norm_(weights, _LARGEST_GRADIENT)
    optimizer.step()
    return loss.detach()


def _optimizer(player: Player, rate: float) -> torch.optim.Optimizer:
    weights = [weight for net in player.networks.values() for weight in net.parameters()]
    return torch.optim.AdamW(weights, lr=rate, betas=player.betas, weight_decay=1e-4, fused=True)


def _rate(done: float) -> float:
    """The learning rate as a share of its peak."""
    warm = min(1.0, (done + 1e-3) / _WARM_UP)
    return warm * (_LOWEST + (1 - _LOWEST) * 0.5 * (1 + math.cos(math.pi * done)))


def _save(
    stage: Stage,
    averaged: Mapping[str, nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    random: torch.Generator,
    step: int,
    folder: Path,
) -> None:
    tensors = training_tensors(*_by_name(stage, averaged, optimizers), random)
    save_tensors(folder, stage.name, tensors, {"step": step, "material": dict(stage.material)})


def _restore(
    stage: Stage,
    averaged: Mapping[str, nn.Module],
    optimizers: Sequence[torch.optim.Optimizer],
    random: torch.Generator,
    folder: Path,
) -> int:
    """Take up a checkpoint; returns the step it was made at."""
    tensors, facts = load_tensors(folder, stage.name)
    before = facts.get("material", {})
    changed = [name for name, value in stage.material.items() if before.get(name) != value]
    if changed:
        raise UserError(
            f"The checkpoint of the {stage.name} in {folder} was made with another {changed[0]}; "
            "give the same as then, or begin anew."
        )
    restore_training(*_by_name(stage, averaged, optimizers), random, tensors)
    return int(facts["step"])


def _by_name(
    stage: Stage, averaged: Mapping[str, nn.Module], optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer]]:
    """Networks and optimizers as they are called in a checkpoint."""
    networks = {f"networks/{name}": net for name, net in stage.networks.items()}
    networks |= {f"averaged/{name}": net for name, net in averaged.items()}
    return networks, {f"optimizer{number}": adam for number, adam in enumerate(optimizers)}
