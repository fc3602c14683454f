"""The residual network: when it is taken, what folding keeps, saving, and how images are moved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from ifnormal.common.pixels import to_float
from ifnormal.config import DetectorConfig, Objective
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors import OBJECTIVES
from ifnormal.detectors.builtin.augmentation import shift_and_flip
from ifnormal.detectors.builtin.backbone import Backbone
from ifnormal.detectors.builtin.batch import draw_batch
from ifnormal.detectors.builtin.networks import resolve_network
from ifnormal.detectors.builtin.residual import ResidualBackbone
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import in_batches
from known_detectors import squares

SHAPE = (3, 32, 32)
SMALL = DetectorConfig(steps=30, batch_size=16, width=4)


def photographs(side: int = 32) -> AnomalySetup:
    """Blue squares are normal, red ones are not."""
    shape = (3, side, side)
    blue, red = squares(40, 2, shape, 0), squares(40, 0, shape, 1)
    return AnomalySetup(
        name="squares",
        normal="blue",
        train_normal=blue[:20],
        validation_normal=blue[20:30],
        validation_anomalies=red[:10],
        test_normal=blue[30:],
        test_anomalies=red[10:20],
        outliers=red[20:30],
        validation_outliers=red[30:],
        pictures="photographs",
    )


@pytest.fixture(scope="module", params=["bce", "hsc"])
def trained(request: pytest.FixtureRequest) -> TrainedDetector:
    return train_detector(photographs(), replace(SMALL, objective=request.param), 0)


class TestWhichNetwork:
    @pytest.mark.parametrize(
        ("objective", "asked", "pictures", "side", "network"),
        [
            ("bce", "auto", "photographs", 32, "residual"),
            ("hsc", "auto", "photographs", 48, "residual"),
            ("bce", "auto", "photographs", 64, "plain"),
            ("hsc", "residual", "photographs", 64, "residual"),
            ("bce", "auto", "drawings", 32, "plain"),
            ("bce", "plain", "photographs", 32, "plain"),
            ("bce", "residual", "drawings", 128, "residual"),
            ("dsvdd", "residual", "photographs", 32, "plain"),
            ("fcdd", "residual", "photographs", 32, "auto"),
        ],
    )
    def test_by_objective_and_pictures(
        self,
        objective: Objective,
        asked: Literal["auto", "plain", "residual"],
        pictures: Literal["drawings", "photographs"],
        side: int,
        network: str,
    ) -> None:
        setup = replace(photographs(side), pictures=pictures)
        config = replace(SMALL, objective=objective, network=asked)
        decided = resolve_network(config, OBJECTIVES[objective], setup)
        assert decided == replace(config, network=network)
        backbone = TrainedDetector(OBJECTIVES[objective], decided, setup.shape).backbone
        own = OBJECTIVES[objective].network
        assert type(backbone) is (ResidualBackbone if network == "residual" else own)

    def test_undecided_is_plain_as_detectors_of_old_are(self, tmp_path: Path) -> None:
        setup = replace(photographs(), pictures="drawings")
        detector = train_detector(setup, replace(SMALL, steps=2), 0)
        detector.save(tmp_path)
        facts = json.loads((tmp_path / "detector.json").read_text())
        assert facts["config"].pop("network") == "plain"
        (tmp_path / "detector.json").write_text(json.dumps(facts))
        again = TrainedDetector.load(tmp_path)
        assert type(again.backbone) is Backbone
        images = setup.test_normal
        assert torch.equal(in_batches(again, images), in_batches(detector, images))


class TestFolding:
    @pytest.mark.parametrize("side", [32, 64])
    def test_keeps_what_the_network_says(self, side: int) -> None:
        torch.manual_seed(0)
        network = ResidualBackbone((3, side, side), 4, 2, True)
        for _ in range(3):  # so that the statistics are not those of the start
            network(torch.rand(8, 3, side, side))
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.uniform_(norm.weight, 0.5, 2)
                nn.init.uniform_(norm.bias, -1, 1)
        images = torch.rand(4, 3, side, side)
        expected = network.eval()(images)
        network.fold()
        torch.testing.assert_close(network(images), expected, atol=1e-4, rtol=1e-4)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())

    def test_twice_is_once(self, trained: TrainedDetector) -> None:
        before = {name: value.clone() for name, value in trained.state_dict().items()}
        trained.freeze()
        assert before.keys() == trained.state_dict().keys()
        assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())

    def test_training_mode_by_mistake_changes_nothing(self, trained: TrainedDetector) -> None:
        images = torch.rand(4, *SHAPE)
        expected = trained(images)
        try:
            assert torch.equal(trained.train()(images), expected)
        finally:
            trained.eval()


class TestTrained:
    def test_tells_normal_from_odd(self, trained: TrainedDetector) -> None:
        setup = photographs()
        assert trained.config.network == "residual"
        normal, odd = (
            in_batches(trained, setup.test_normal),
            in_batches(trained, setup.test_anomalies),
        )
        assert odd.min() > normal.max()

    def test_scores_alike_alone_and_in_company(self, trained: TrainedDetector) -> None:
        images = to_float(photographs().test_anomalies)
        alone = torch.cat([trained(image[None]) for image in images])
        torch.testing.assert_close(alone, trained(images), atol=1e-5, rtol=0)

    def test_every_image_has_a_gradient(self, trained: TrainedDetector) -> None:
        images = torch.rand(3, *SHAPE).requires_grad_()
        (slope,) = torch.autograd.grad(trained.inspect(images)[0].sum(), images)
        assert slope.isfinite().all()
        assert (slope.abs().sum((1, 2, 3)) > 0).all()

    def test_save_and_load_keep_scores_bit_for_bit(
        self, trained: TrainedDetector, tmp_path: Path
    ) -> None:
        trained.save(tmp_path)
        again = TrainedDetector.load(tmp_path)
        images = photographs().test_anomalies
        assert torch.equal(in_batches(again, images), in_batches(trained, images))
        assert again.config == trained.config
        assert not any(weight.requires_grad for weight in again.parameters())

    @pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (3, 48, 30)], ids=str)
    def test_other_sizes(self, shape: tuple[int, int, int]) -> None:
        outputs, features = ResidualBackbone(shape, 4, 3, True)(torch.rand(2, *shape))
        assert outputs.shape == (2, 3)
        assert features.shape == (2, 16)


class TestMoved:
    def images(self) -> Tensor:
        """Every pixel another value; the same image 60 times."""
        return torch.arange(16.0 * 24).reshape(1, 1, 16, 24).expand(60, 1, 16, 24)

    def test_by_whole_pixels_and_each_by_itself(self) -> None:
        images = self.images()
        moved = shift_and_flip(images, DetectorConfig(), torch.Generator().manual_seed(0))
        # The value in the middle says where it is from: 24 a row, 1 a column.
        origin = moved[:, 0, 8, 12]
        down, across = origin // 24 - 8, origin % 24 - 12
        assert set(down.tolist()) == set(range(-2, 3))
        assert set(across.tolist()) == set(range(-3, 4))
        padded = nn.functional.pad(images, (3, 3, 2, 2), mode="replicate")
        for index in range(len(images)):
            top, left = 2 + int(down[index]), 3 + int(across[index])
            expected = padded[index, :, top : top + 16, left : left + 24]
            assert torch.equal(moved[index], expected)

    @pytest.mark.parametrize(
        ("flip", "ways"), [("none", 1), ("horizontal", 2), ("vertical", 2), ("both", 4)]
    )
    def test_mirrored_as_allowed(
        self, flip: Literal["none", "horizontal", "vertical", "both"], ways: int
    ) -> None:
        config = DetectorConfig(flip=flip)
        moved = shift_and_flip(self.images(), config, torch.Generator().manual_seed(0))[:, 0]
        down = moved[:, 9, 12] > moved[:, 7, 12]
        across = moved[:, 8, 13] > moved[:, 8, 11]
        assert len(set(zip(down.tolist(), across.tolist(), strict=True))) == ways
        assert down.all() or flip in ("vertical", "both")

    def test_many_photographs_are_moved_and_many_drawings_are_not(self) -> None:
        """Without variation: drawings of a batch are all shifted alike, photographs each alone."""
        setup = photographs()
        same = replace(setup, train_normal=setup.train_normal[:1], outliers=setup.train_normal[:1])

        def kinds(network: Literal["plain", "residual"]) -> int:
            config = replace(SMALL, network=network, augment="off", flip="horizontal")
            batch = draw_batch(same, OBJECTIVES["bce"], config, torch.Generator().manual_seed(0))
            return len({image.numpy().tobytes() for image in batch.images})

        assert kinds("plain") == 1
        assert kinds("residual") > 4
