"""Plain gradient descent on the pixels satisfies the detector, and shows where it looks."""

from __future__ import annotations

import pytest
import torch

from ifnormal.common.pixels import to_float
from ifnormal.detectors.detector import in_batches
from ifnormal.explainers.pixel_gradient import gradient_counterfactuals
from known_detectors import PATCH, bright_patch, mean_color, red


def bright(count: int = 3) -> torch.Tensor:
    return torch.randint(180, 256, (count, 1, 16, 16), dtype=torch.uint8)


def test_counterfactuals_become_valid() -> None:
    detector, anomalies = mean_color(gain=50.0), red(3)
    result = gradient_counterfactuals(detector, anomalies, ("a", "b", "c"), steps=100)
    assert (result.calibrated_scores_before > detector.threshold).all()
    assert result.valid.all()
    assert result.counterfactuals.shape == (3, 1, 3, 16, 16)
    assert result.names == ("a", "b", "c")
    assert len(result.traversals) == 0


def test_scores_are_of_the_saved_pixels() -> None:
    detector, anomalies = bright_patch(), bright()
    result = gradient_counterfactuals(detector, anomalies, ("a", "b", "c"), steps=20)
    assert torch.equal(result.calibrated_scores_before, in_batches(detector, anomalies))
    assert torch.equal(
        result.calibrated_scores_after[:, 0], in_batches(detector, result.counterfactuals[:, 0])
    )


def test_only_what_the_detector_reads_is_edited() -> None:
    anomalies = bright()
    result = gradient_counterfactuals(bright_patch(), anomalies, ("a", "b", "c"), steps=60)
    change = to_float(result.counterfactuals[:, 0]) - to_float(anomalies)
    assert result.valid.all()
    assert (change[:, :, PATCH[0], PATCH[1]] < 0).all()
    change[:, :, PATCH[0], PATCH[1]] = 0
    assert change.count_nonzero() == 0


def test_stops_just_beyond_the_smallest_edit() -> None:
    detector, anomalies = bright_patch(), torch.full((2, 1, 16, 16), 200, dtype=torch.uint8)
    smallest = detector.smallest_edit(to_float(anomalies))
    assert detector(smallest).tolist() == pytest.approx([0.5, 0.5], abs=1e-5)
    result = gradient_counterfactuals(detector, anomalies, ("a", "b"), steps=60)
    beyond = smallest - to_float(result.counterfactuals[:, 0])
    assert (beyond > -1 / 255).all()
    assert (beyond < 0.03).all()  # the last step may go a little too far


def test_what_is_accepted_already_stays_as_it_is() -> None:
    images = torch.cat([bright(1), torch.full((1, 1, 16, 16), 60, dtype=torch.uint8)])
    result = gradient_counterfactuals(bright_patch(), images, ("a", "b"), steps=60)
    assert result.valid.all()
    assert not torch.equal(result.counterfactuals[0, 0], images[0])
    assert torch.equal(result.counterfactuals[1, 0], images[1])


def test_one_anomaly_and_the_input_stays_as_it_was() -> None:
    anomalies = bright(1)
    before = anomalies.clone()
    gradient_counterfactuals(bright_patch(), anomalies, ("a",), steps=3)
    assert torch.equal(anomalies, before)


def test_no_step_is_no_edit() -> None:
    anomalies = bright()
    result = gradient_counterfactuals(bright_patch(), anomalies, ("a", "b", "c"), steps=0)
    assert torch.equal(result.counterfactuals[:, 0], anomalies)
    assert not result.valid.any()
