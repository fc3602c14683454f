"""What an optimizer remembers, as tensors to be saved, and back again bit for bit."""

from __future__ import annotations

import torch
from torch import Tensor


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """Its moments and counters as `<prefix><weight number>/<name>`."""
    return {
        f"{prefix}{index}/{key}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, prefix: str, tensors: dict[str, Tensor]
) -> None:
    """Take up what `optimizer_tensors` gave with the same prefix, among other tensors."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            index, key = name[len(prefix) :].split("/")
            weight = weights[int(index)]
            if value.shape == weight.shape:
                # Fused Adam pairs weights and moments by memory: they need the same layout.
                value = torch.empty_like(weight, requires_grad=False).copy_(value)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
