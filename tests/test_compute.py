"""Where and how precisely to compute."""

from __future__ import annotations

import pytest
import torch

from ifnormal.common import compute
from ifnormal.common.compute import channels_last, has_fast_bfloat16, make_fabric


def product_type(precision: str) -> torch.dtype:
    with make_fabric(precision).autocast():
        return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


def test_has_fast_bfloat16_is_a_bool() -> None:
    assert isinstance(has_fast_bfloat16(), bool)


def test_torch_without_the_checks_means_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "cpu", object())
    assert has_fast_bfloat16() is False


@pytest.mark.parametrize(
    ("precision", "expected"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)]
)
def test_precision_is_what_was_asked_for(precision: str, expected: torch.dtype) -> None:
    assert product_type(precision) == expected


@pytest.mark.parametrize(("fast", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_follows_the_machine(
    monkeypatch: pytest.MonkeyPatch, fast: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(compute, "has_fast_bfloat16", lambda: fast)
    assert product_type("auto") == expected


def test_fabric_is_launched_and_alone() -> None:
    fabric = make_fabric()
    assert fabric.is_global_zero
    assert fabric.world_size >= 1
    fabric.barrier()


def test_channels_last_changes_the_layout_alone() -> None:
    images = torch.rand(2, 3, 4, 5)
    laid = channels_last(images)
    assert torch.equal(laid, images)
    assert laid.is_contiguous(memory_format=torch.channels_last)
