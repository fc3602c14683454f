"""Fits of seconds: done, broken off, compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ifnormal.config import FitConfig
from ifnormal.training.fit import fit
from ifnormal.training.state import TrainingState, unwrapped
from known_detectors import TINY, blue, mean_color, red


def train(config: FitConfig = TINY, folder: Path | None = None, **options: Any) -> TrainingState:
    options = {"detector": mean_color(), "seed": 0, **options}
    detector = options.pop("detector")
    if "sources" not in options:  # as if every red image had been made of a blue one
        options["sources"] = torch.arange(len(red())) % len(blue())
    return fit(detector, blue(), red(), config, folder=folder, **options)


@cache
def straight(config: FitConfig = TINY) -> TrainingState:
    """A fit that nothing interrupts, to compare others with."""
    return train(config)


def weights(state: TrainingState) -> dict[str, Tensor]:
    """Everything that was learned, and the state of randomness."""
    nets = {
        "generator": unwrapped(state.generator),
        "averaged": state.averaged,
        "discriminator": unwrapped(state.discriminator),
        "classifier": unwrapped(state.classifier),
        "modes": state.modes,
    }
    values = {f"{n}.{k}": v for n, net in nets.items() for k, v in net.state_dict().items()}
    return {**values, "random": state.random.get_state()}


def differing(first: TrainingState, second: TrainingState) -> list[str]:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def losses(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


class InterruptedAtError(Exception):
    """Stands for a power cut."""


def interrupt(at: int) -> Callable[[TrainingState], None]:
    def on_step(state: TrainingState) -> None:
        if state.step == at:
            raise InterruptedAtError

    return on_step


def interrupted(folder: Path, config: FitConfig, at: int) -> None:
    with pytest.raises(InterruptedAtError):
        train(config, folder, on_step=interrupt(at))
