"""FCDD: its map, its losses by hand, and that it learns where the anomaly is."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn, tensor

from ifnormal.benchmarks.pixel_auroc import pixel_auroc
from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors import OBJECTIVES
from ifnormal.detectors.builtin.batch import Batch, draw_batch
from ifnormal.detectors.builtin.fcdd import FCDD, anomaly_map, pixel_loss
from ifnormal.detectors.builtin.fully_convolutional import FullyConvolutional
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import in_batches

NOTHING = torch.zeros(0)
SHAPE = (1, 32, 32)


def spotted(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Grey noise with a bright spot of 6x6 pixels anywhere, and where it is."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(90, 110, (count, *SHAPE), dtype=torch.uint8, generator=rng)
    masks = torch.zeros(count, *SHAPE[1:], dtype=torch.bool)
    for n, (y, x) in enumerate(torch.randint(26, (count, 2), generator=rng).tolist()):
        masks[n, y : y + 6, x : x + 6] = True
    images[:, 0][masks] = 220
    return images, masks


def plain(count: int, seed: int) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(90, 110, (count, *SHAPE), dtype=torch.uint8, generator=rng)


def spots() -> AnomalySetup:
    outliers, _ = spotted(48, 3)
    anomalies, masks = spotted(12, 4)
    return AnomalySetup(
        name="spots",
        normal="grey",
        train_normal=plain(48, 0),
        validation_normal=plain(20, 1),
        validation_anomalies=spotted(8, 5)[0],
        test_normal=plain(12, 2),
        test_anomalies=anomalies,
        outliers=outliers,
        validation_outliers=spotted(16, 6)[0],
        test_masks=masks,
    )


CONFIG = DetectorConfig("fcdd", steps=60, batch_size=16, width=8, augment="off")


class TestByHand:
    def test_the_map(self) -> None:
        outputs = tensor([0.0, math.sqrt(3), -math.sqrt(8)]).view(1, 1, 1, 3)
        assert anomaly_map(outputs).flatten().tolist() == pytest.approx([0, 1, 2])

    def test_small_outputs_are_not_rounded_away(self) -> None:
        assert anomaly_map(tensor([[1e-5]])).item() == pytest.approx(5e-11, rel=1e-4)

    def test_loss_and_score_of_a_map(self) -> None:
        # Maps A of (0, 2) and (1, 2): means 1 and 1.5.
        outputs = tensor([[0.0, 8.0], [3.0, 8.0]]).sqrt().view(2, 1, 1, 2)
        loss = FCDD.loss(outputs, tensor([False, True]), NOTHING)
        assert loss.item() == pytest.approx((1 - math.log(1 - math.exp(-1.5))) / 2)
        scores = FCDD.log_odds(outputs, NOTHING).sigmoid()
        assert scores.tolist() == pytest.approx([1 - math.exp(-1), 1 - math.exp(-1.5)], rel=1e-5)

    def test_loss_by_pixels(self) -> None:
        heat = tensor([[[1.0, 2], [0, 5]], [[1.0, 2], [0, 5]]])
        masks = tensor([[[False, False], [False, True]], [[False] * 2, [False] * 2]])
        anomalous = 3 / 4 - math.log(1 - math.exp(-5 / 4))
        assert pixel_loss(heat, masks).tolist() == pytest.approx([anomalous, 2])

    def test_a_step_by_pixels_heats_the_mask_alone(self) -> None:
        heat = torch.full((1, 2, 2), 0.5, requires_grad=True)
        masks = tensor([[[True, False], [False, False]]])
        (slope,) = torch.autograd.grad(pixel_loss(heat, masks).sum(), heat)
        assert slope[masks].item() < 0
        assert (slope[~masks] > 0).all()

    def test_no_mask_and_no_heat_have_a_finite_gradient(self) -> None:
        heat = torch.zeros(2, 2, 2, requires_grad=True)
        masks = torch.zeros(2, 2, 2, dtype=torch.bool)
        masks[0] = True
        (slope,) = torch.autograd.grad(pixel_loss(heat, masks).sum(), heat)
        assert slope.isfinite().all()


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 128, 128), (3, 96, 64)]
)
def test_maps_and_heatmaps_of_any_size(shape: tuple[int, int, int]) -> None:
    network = FullyConvolutional(shape, 4, 1, True).eval()
    outputs, features = network(torch.rand(2, *shape))
    assert not any(isinstance(module, nn.Linear) for module in network.modules())
    assert outputs.shape[:2] == (2, 1)
    assert features.shape[0] == 2
    assert features.ndim == 2
    assert network.upsample(outputs[:, 0]).shape == (2, *shape[1:])


def test_folding_keeps_the_map_and_leaves_no_normalisation() -> None:
    network = FullyConvolutional((1, 32, 32), 4, 1, True)
    for _ in range(20):
        network(torch.rand(8, 1, 32, 32))
    images = torch.rand(3, 1, 32, 32)
    before, _ = network.eval()(images)
    network.fold()
    after, _ = network(images)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_an_output_depends_on_its_receptive_field_alone() -> None:
    network = FullyConvolutional((1, 64, 64), 4, 1, True).eval()
    images = torch.rand(1, 1, 64, 64, requires_grad=True)
    outputs, _ = network(images)
    row, column = outputs.shape[2] // 2, outputs.shape[3] // 2
    (slope,) = torch.autograd.grad(outputs[0, 0, row, column], images)
    rows = (slope[0, 0] != 0).any(1).nonzero().flatten()
    first, last = network.fields[0].pixels(row)
    assert max(0, first) <= rows[0]
    assert rows[-1] <= min(63, last)
    assert len(rows) > network.fields[0].stride


class TestTraining:
    @pytest.fixture
    def images(self) -> AnomalySetup:
        return spots()

    @pytest.mark.parametrize("way", ["exposure", "confetti", "masks"])
    def test_finds_the_spot(self, way: str, images: AnomalySetup) -> None:
        config = CONFIG
        if way == "confetti":
            config = replace(config, confetti=1.0)
        if way == "masks":
            known, masks = spotted(5, 7)
            images = replace(images, labelled_anomalies=known, labelled_masks=masks)
        detector = train_detector(images, config, 0)
        assert detector.heatmap is not None
        heat = in_batches(detector.heatmap, images.test_anomalies)
        assert (heat >= 0).all()
        assert images.test_masks is not None
        assert pixel_auroc(heat, images.test_masks) > 75  # each unit reads more than the spot
        normal = in_batches(detector.heatmap, images.test_normal)
        assert heat.amax((1, 2)).min() > normal.amax((1, 2)).max()

    def test_the_heatmap_survives_the_disk(self, images: AnomalySetup, tmp_path: Path) -> None:
        detector = train_detector(images, replace(CONFIG, steps=3), 0)
        detector.save(tmp_path)
        again = TrainedDetector.load(tmp_path)
        assert detector.heatmap is not None
        assert again.heatmap is not None
        floats = torch.rand(2, *SHAPE)
        assert torch.equal(again.heatmap(floats), detector.heatmap(floats))

    def test_the_heatmap_has_the_score_as_its_mean(self, images: AnomalySetup) -> None:
        detector = train_detector(images, replace(CONFIG, steps=3), 0)
        outputs, _ = detector.backbone(torch.rand(3, *SHAPE))
        mean = anomaly_map(outputs).mean((1, 2))
        raw = FCDD.log_odds(outputs, NOTHING)
        torch.testing.assert_close(raw.sigmoid(), 1 - (-mean).exp(), atol=1e-5, rtol=1e-4)


class TestBatch:
    def draw(self, **options: Any) -> Batch:
        images, (known, masks) = spots(), spotted(3, 8)
        if options.pop("labelled", False):
            images = replace(images, labelled_anomalies=known, labelled_masks=masks)
        if options.pop("located", False):
            images = replace(images, outlier_masks=spotted(48, 3)[1])
        objective = OBJECTIVES[options.pop("objective", "fcdd")]
        config = replace(CONFIG, **options)
        return draw_batch(images, objective, config, torch.Generator().manual_seed(0))

    def test_exposure_alone_has_no_known_place(self) -> None:
        batch = self.draw()
        assert batch.is_outlier.tolist() == 8 * [False] + 8 * [True]
        assert batch.masks is None

    def test_all_of_an_outlier_of_unknown_place_is_anomalous(self) -> None:
        batch = self.draw(confetti=0.5, labelled=True)
        assert batch.is_outlier.tolist() == 8 * [False] + 8 * [True]
        assert batch.masks is not None
        shares = batch.masks.float().mean((1, 2))
        assert (shares[:8] == 0).all()
        assert ((shares[8:11] > 0) & (shares[8:11] < 0.9)).all()  # confetti
        assert (shares[11:14] > 0.8).all()  # exposure, shifted
        assert shares[14:].tolist() == pytest.approx(2 * [36 / 1024])  # labelled

    @pytest.mark.parametrize("augment", ["on", "off"])
    @pytest.mark.parametrize("flip", ["none", "both"])
    def test_masks_move_with_the_images(self, augment: str, flip: str) -> None:
        batch = self.draw(labelled=True, located=True, augment=augment, flip=flip, turn=180.0)
        assert batch.masks is not None
        for image, mask in zip(batch.images[8:, 0], batch.masks[8:], strict=True):
            spot = image > 0.65
            assert spot.any()
            assert (spot != mask).sum() <= 0.4 * spot.sum()  # pixels on the turned rim

    def test_an_objective_without_pixels_gets_the_same_images_and_no_masks(self) -> None:
        fcdd, bce = (self.draw(labelled=True, objective=name) for name in ("fcdd", "bce"))
        assert torch.equal(fcdd.images, bce.images)
        assert fcdd.masks is not None
        assert bce.masks is None

    def test_only_normal_images_where_no_outliers_are_needed(self) -> None:
        batch = self.draw(objective="dsvdd", confetti=1.0, labelled=True)
        assert not batch.is_outlier.any()
        assert len(batch.images) == 16
