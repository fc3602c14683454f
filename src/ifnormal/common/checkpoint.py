"""Networks, optimizers and random state as named tensors to be saved, and back, bit for bit.

Names are paths: `<prefix><module>/<weight>`, `<prefix><optimizer>/<weight number>/<moment>` and
`<prefix>random`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def training_tensors(
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    random: torch.Generator,
    prefix: str = "",
) -> dict[str, Tensor]:
    """Everything that a training changes, so that `restore_training` can go on from it."""
    tensors = module_tensors(modules, prefix)
    for name, optimizer in optimizers.items():
        tensors |= _optimizer_tensors(optimizer, f"{prefix}{name}/")
    return {**tensors, f"{prefix}random": random.get_state()}


def restore_training(
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    random: torch.Generator,
    tensors: Mapping[str, Tensor],
    prefix: str = "",
) -> None:
    """Take up what `training_tensors` gave with the same names, among other tensors.

    Raises:
        RuntimeError: weights are missing, or have other names or shapes.
        KeyError: the random state is missing.
    """
    restore_modules(modules, tensors, prefix)
    for name, optimizer in optimizers.items():
        _restore_optimizer(optimizer, tensors_below(f"{prefix}{name}/", tensors))
    random.set_state(tensors[f"{prefix}random"])


def module_tensors(modules: Mapping[str, nn.Module], prefix: str = "") -> dict[str, Tensor]:
    """Weights and buffers of modules, by their names."""
    return {
        f"{prefix}{name}/{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }


def restore_modules(
    modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], prefix: str = ""
) -> None:
    """Take up what `module_tensors` gave with the same names, among other tensors.

    Raises:
        RuntimeError: weights are missing, or have other names or shapes.
    """
    for name, module in modules.items():
        module.load_state_dict(tensors_below(f"{prefix}{name}/", tensors))


def tensors_below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, by the rest of their names."""
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def _optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    return {
        f"{prefix}{index}/{key}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split("/")
        weight = weights[int(index)]
        if value.shape == weight.shape:
            # Fused Adam pairs weights and moments by memory: they need the same layout.
            value = torch.empty_like(weight, requires_grad=False).copy_(value)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
