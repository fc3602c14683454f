"""A training that is saved as tensors and taken up again goes on to the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ifnormal.common.checkpoint import (
    module_tensors,
    restore_modules,
    restore_training,
    tensors_below,
    training_tensors,
)

Training = tuple[dict[str, nn.Module], dict[str, torch.optim.Optimizer], torch.Generator]


def training(seed: int) -> Training:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    adam = torch.optim.Adam(net.parameters(), lr=0.1, fused=True)
    return {"net": net}, {"adam": adam}, torch.Generator().manual_seed(seed)


def steps(of: Training, count: int) -> dict[str, Tensor]:
    modules, optimizers, random = of
    for _ in range(count):
        loss = modules["net"](torch.rand(4, 1, 8, 8, generator=random)).square().mean()
        optimizers["adam"].zero_grad()
        loss.backward()
        optimizers["adam"].step()
    return {name: value.clone() for name, value in modules["net"].state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "surrogate/"])
def test_goes_on_bit_for_bit(prefix: str) -> None:
    undisturbed = steps(training(0), 5)
    begun, resumed = training(0), training(1)
    steps(begun, 2)
    other = {"nets/0.weight": torch.zeros(1), "other/0/step": torch.zeros(1)}
    tensors = {k: v.clone() for k, v in training_tensors(*begun, prefix).items()}
    restore_training(*resumed, {**tensors, **other}, prefix)
    for name, value in steps(resumed, 3).items():
        assert torch.equal(value, undisturbed[name]), name


def test_names() -> None:
    of = training(0)
    steps(of, 1)
    names = set(training_tensors(*of, "a/"))
    assert {"a/net/0.weight", "a/net/1.running_mean", "a/adam/0/exp_avg", "a/adam/0/step"} < names
    assert "a/random" in names
    assert all(name.startswith("a/") for name in names)


def test_missing_weights_are_refused() -> None:
    modules, _, _ = training(0)
    tensors = module_tensors(modules)
    del tensors["net/0.weight"]
    with pytest.raises(RuntimeError, match=r"0\.weight"):
        restore_modules(modules, tensors)


def test_tensors_below_a_prefix() -> None:
    one, two = torch.zeros(1), torch.ones(1)
    assert tensors_below("net/", {"net/a/b": one, "nets/c": two}) == {"a/b": one}
