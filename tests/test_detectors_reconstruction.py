"""Detectors that restore images: errors and the ELBO by hand, images of any size, bad input."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, tensor

from ifnormal.common.pixels import to_float
from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.autoencoder import Autoencoder
from ifnormal.detectors.builtin.autoencoder_network import ConvolutionalAutoencoder
from ifnormal.detectors.builtin.reconstruction import ReconstructionDetector, smoothed
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.builtin.vae import Vae, bounded, divergence, log_likelihood
from ifnormal.detectors.detector import in_batches
from known_detectors import squares

KINDS: dict[str, type[ReconstructionDetector]] = {"autoencoder": Autoencoder, "vae": Vae}


def setup_of(normal: Tensor, odd: Tensor) -> AnomalySetup:
    return AnomalySetup("s", "n", normal, normal, odd, normal, odd, odd, odd)


def config(kind: str, steps: int = 2, **options: object) -> DetectorConfig:
    given = DetectorConfig(objective=kind, steps=steps, batch_size=8, width=4)  # type: ignore[arg-type]
    return replace(given, **options)  # type: ignore[arg-type]


class Restoring(Autoencoder):
    """Restores every image as middle grey."""

    def __init__(self) -> None:
        super().__init__(config("autoencoder"), (1, 8, 10))
        for weight in self.network.up[-1].parameters():
            torch.nn.init.zeros_(weight)
        torch.nn.init.constant_(self.network.up[-1].bias, 0.5)  # type: ignore[arg-type]


class TestByHand:
    def test_the_error_is_the_squared_difference(self) -> None:
        images = torch.full((1, 1, 8, 10), 0.5)
        images[0, 0, 2, 3] = 0.9
        errors, codes = Restoring().errors(images)
        expected = torch.zeros(1, 8, 10)
        expected[0, 2, 3] = 0.16
        torch.testing.assert_close(errors, expected)
        assert codes.shape == (1, 8)

    def test_the_score_is_the_log_of_the_mean_of_the_worst_errors(self) -> None:
        images = torch.full((1, 1, 8, 10), 0.5)
        images[0, 0, 2, 3:5] = tensor([0.9, 0.8])  # 2 % of 80 pixels are two
        raw, _ = Restoring().raw(images)
        assert raw.item() == pytest.approx(math.log((0.16 + 0.09) / 2), rel=1e-5)

    def test_smoothing_is_a_mean_of_the_pixels_within_the_image(self) -> None:
        heat = torch.zeros(1, 64, 64)
        heat[0, 0, 0], heat[0, 30, 30] = 4, 9
        found = smoothed(heat)
        assert found[0, 30:32, 31].tolist() == [1, 1]
        assert found[0, 0, 0].item() == 1  # a corner has four pixels
        assert torch.equal(smoothed(heat[:, :28, :28]), heat[:, :28, :28])

    def test_divergence(self) -> None:
        # ½ (μ² + σ² − 1 − log σ²): of a mean of 2, and of a variance of e.
        mean, log_variance = tensor([[0.0, 0], [2, 0]]), tensor([[0.0, 0], [0, 1]])
        assert divergence(mean, log_variance).tolist() == pytest.approx([0, 2 + (math.e - 2) / 2])

    def test_likelihood(self) -> None:
        images, mean = tensor([[[[0.5, 0.5]]]]), tensor([[[[0.5, 0.1]]]])
        log_variance = tensor([[[[-2.0, -4.0]]]])
        expected = -(0 - 2 + 0.16 * math.exp(4) - 4) / 2
        assert log_likelihood(images, mean, log_variance).item() == pytest.approx(expected)

    def test_bounds_of_the_variance(self) -> None:
        found = bounded(tensor([-50.0, 0, 50]))
        assert found.tolist() == pytest.approx([-9, -4.5, 0])

    def test_the_elbo_without_noise_is_likelihood_less_divergence(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        detector, images = Vae(config("vae"), (1, 8, 8)), torch.rand(2, 1, 8, 8)
        monkeypatch.setattr(torch, "randn", lambda shape, generator: torch.zeros(shape))
        mean, spread = detector.network.encode(images)
        restored, log_variance = detector.network.decode(mean)
        likelihood = log_likelihood(images, restored, bounded(log_variance))
        elbo = (likelihood - divergence(mean, spread)).mean() / 64
        assert detector.loss(images, torch.Generator()).item() == pytest.approx(-elbo.item())

    def test_an_edge_that_is_never_sure_counts_less(self) -> None:
        detector = Vae(config("vae"), (1, 8, 8))
        detector.network.decode = lambda codes: (  # type: ignore[method-assign]
            torch.zeros(1, 1, 8, 8),
            torch.cat([torch.full((1, 1, 4, 8), -50.0), torch.full((1, 1, 4, 8), 50.0)], 2),
        )
        errors, _ = detector.errors(torch.full((1, 1, 8, 8), 0.1))
        assert errors[0, 0, 0].item() == pytest.approx(0.01 * math.exp(9), rel=1e-4)
        assert errors[0, 7, 0].item() == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 32, 32), (3, 96, 64), (1, 101, 50), (3, 15, 130), (1, 256, 256)]
)
def test_images_of_any_size(shape: tuple[int, int, int]) -> None:
    network, images = ConvolutionalAutoencoder(shape, 4, parts=2, maps=2), torch.rand(2, *shape)
    mean, spread = network.encode(images)
    assert mean.shape == spread.shape == (2, 8)
    assert [part.shape for part in network.decode(mean)] == [images.shape] * 2


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_oblong_grey_images(self, kind: str) -> None:
        images = squares(6, 0, (1, 50, 96))
        detector = train_detector(setup_of(images, 255 - images), config(kind), 0)
        assert in_batches(detector, images).isfinite().all()
        heat = detector.heatmap
        assert heat is not None
        assert heat(to_float(images)).shape == (6, 50, 96)

    @pytest.mark.parametrize("count", [1, 2])
    def test_few_and_constant_images(self, kind: str, count: int) -> None:
        images = torch.full((count, 1, 28, 28), 90, dtype=torch.uint8)
        detector = train_detector(setup_of(images, 255 - images), config(kind, 30), 0)
        scores = in_batches(detector, torch.cat([images, 255 - images]))
        assert scores.isfinite().all()
        assert scores[-1] > scores[0]

    def test_restores_what_it_knows_and_not_what_it_does_not(self, kind: str) -> None:
        halves = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
        halves[0, ..., :8] = 200
        halves[1, ..., 8:] = 200
        strange = halves.clone()
        strange[:, :, 2:6] = 100
        options = config(kind, 60, augment="off", learning_rate=5e-3)
        detector = train_detector(setup_of(halves, strange), options, 0)
        assert detector.heatmap is not None
        known, unknown = (detector.heatmap(to_float(images)) for images in (halves, strange))
        assert unknown[:, 3:5].mean() > 2 * known[:, 3:5].mean()

    def test_has_a_random_code_in_training_only(self, kind: str) -> None:
        detector, images = KINDS[kind](config(kind), (1, 16, 16)), torch.rand(2, 1, 16, 16)
        torch.nn.init.ones_(detector.network.up[-1].weight)  # type: ignore[arg-type]
        torch.testing.assert_close(detector.raw(images), detector.raw(images), rtol=0, atol=0)
        first, again = (
            detector.loss(images, torch.Generator().manual_seed(seed)) for seed in (0, 1)
        )
        assert torch.equal(first, again) == (kind == "autoencoder")

    def test_is_saved_without_a_pretrained_network(self, kind: str, tmp_path: Path) -> None:
        KINDS[kind](config(kind), (1, 28, 28)).freeze().save(tmp_path)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 300_000
