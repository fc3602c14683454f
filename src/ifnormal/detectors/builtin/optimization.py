"""The optimisation that all detectors with an objective share: AdamW with one cycle of rates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from ifnormal.common.errors import DivergenceError
from ifnormal.common.progress import Progress
from ifnormal.config import DetectorConfig

_REPORT_EVERY = 25


def minimize(
    loss_of_step: Callable[[], Tensor],
    parameters: Iterable[nn.Parameter],
    config: DetectorConfig,
    log: Path | None,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> None:
    """Change the parameters by `config.steps` steps.

    Args:
        loss_of_step: draws a batch and returns its loss.
        parameters: to be changed.
        config: steps and rates, and the objective, which messages name.
        log: losses go here, one JSON object a line.
        backward: computes the gradients of a loss.

    Raises:
        DivergenceError: the loss became NaN or infinite.
    """
    optimizer = torch.optim.AdamW(
        parameters, lr=config.learning_rate, weight_decay=1e-4, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps
    )
    with Progress(f"detector ({config.objective})", config.steps, log) as progress:
        for step in range(1, config.steps + 1):
            loss = loss_of_step()
            if not torch.isfinite(loss):
                raise DivergenceError(
                    f"The {config.objective} detector's loss became {loss.item()} at step "
                    f"{step}; lower its learning_rate."
                )
            optimizer.zero_grad(set_to_none=True)
            backward(loss)
            optimizer.step()
            schedule.step()
            if step % _REPORT_EVERY == 0 or step == config.steps:
                progress.report(step, {"loss": loss.item()})
