"""One contract for every heatmap, on detectors that look where we know."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ifnormal.benchmarks.heatmaps import HEATMAPS, HeatFunction, Heatmap, autoencoder
from ifnormal.benchmarks.heatmaps.autoencoder import Autoencoder, residual, train_autoencoder
from ifnormal.common.errors import UserError
from ifnormal.config import DetectorConfig
from ifnormal.detectors import OBJECTIVES
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.detector import Detector, in_batches
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.heatmap import heatmap_source, heatmaps
from ifnormal.report.listing import read_listing
from known_detectors import COLOR, GREY, PATCH, KnownDetector, blue, bright_patch, red, tiny

SIDE = 32
SHAPE = (1, SIDE, SIDE)
SPOT = (slice(8, 16), slice(16, 24))


class SpotDetector(nn.Module, Detector):
    """Log-odds are the sum of a convolution's map in the spot; its own heatmap is that map."""

    threshold = 0.5
    shape = SHAPE

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3, padding=1, bias=False)
        nn.init.ones_(self.convolution.weight)
        self.requires_grad_(False)

    def seen(self, images: Tensor) -> Tensor:
        there = torch.zeros(SIDE, SIDE)
        there[SPOT] = 1
        return self.convolution(images).relu() * there

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.seen(images)
        return seen.sum((1, 2, 3)), seen.mean((2, 3))

    def heatmap(self, images: Tensor) -> Tensor:
        return self.seen(images).sum(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.inspect(images)[0].sigmoid()


def normal(count: int = 32) -> Tensor:
    return torch.randint(0, 30, (count, *SHAPE), dtype=torch.uint8)


def anomalies(count: int = 3) -> Tensor:
    images = normal(count)
    images[:, 0, SPOT[0], SPOT[1]] = 230
    return images


@pytest.fixture(scope="module", params=HEATMAPS)
def made(request: pytest.FixtureRequest) -> tuple[Heatmap, HeatFunction]:
    heatmap = HEATMAPS[request.param]
    if heatmap.name in ("grad-cam", "integrated-gradients"):
        pytest.importorskip("captum")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoencoder, "_STEPS", 12)
        return heatmap, heatmap.prepare(normal(), 0)


@pytest.mark.filterwarnings("ignore:.*captum.*")
class TestContract:
    def test_hottest_where_the_anomaly_is(self, made: tuple[Heatmap, HeatFunction]) -> None:
        (heatmap, heat_of), detector, images = made, SpotDetector(), anomalies()
        assert heatmap.applies(detector)
        heat = heat_of(detector, images)
        assert (heat.shape, heat.dtype) == ((3, SIDE, SIDE), torch.float32)
        assert heat.isfinite().all()
        far = torch.ones(SIDE, SIDE, dtype=torch.bool)
        far[4:20, 12:28] = False
        for one in heat:
            assert one[SPOT].mean() > 3 * one[far].mean()
            assert one[SPOT].mean() > 0

    def test_alone_as_in_company_and_none_of_none(self, made: tuple[Heatmap, HeatFunction]) -> None:
        (_, heat), detector, images = made, SpotDetector(), anomalies()
        together = heat(detector, images)
        torch.testing.assert_close(heat(detector, images[1:2]), together[1:2])
        assert heat(detector, images[:0]).shape == (0, SIDE, SIDE)

    def test_the_detector_is_left_as_it_was(self, made: tuple[Heatmap, HeatFunction]) -> None:
        (_, heat), detector, images = made, SpotDetector(), anomalies()
        before = detector(images / 255)
        with torch.no_grad():
            heat(detector, images)
        assert torch.equal(detector(images / 255), before)
        assert not any(weight.requires_grad for weight in detector.parameters())
        assert not detector.convolution._forward_hooks


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_who_applies_to_the_built_in_detectors(objective: str) -> None:
    detector = TrainedDetector(OBJECTIVES[objective], DetectorConfig(width=2), SHAPE).freeze()
    applies = {name for name, heatmap in HEATMAPS.items() if heatmap.applies(detector)}
    assert applies == set(HEATMAPS) - ({"own"} if objective != "fcdd" else set())


def test_a_black_box_has_no_gradient_to_show() -> None:
    box = bright_patch()
    box.is_black_box = True
    assert {name for name, heatmap in HEATMAPS.items() if heatmap.applies(box)} == {
        "autoencoder",
        "foreground",
    }


def test_without_captum_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(UserError, match=r"ifnormal\[captum\]"):
        HEATMAPS["grad-cam"].prepare(normal(), 0)


def test_scores_without_gradient_are_said_to_have_none() -> None:
    class Blind(KnownDetector):
        def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
            return super().inspect(images.detach())

    heat = HEATMAPS["gradient"].prepare(normal(), 0)
    with pytest.raises(UserError, match="no gradient"):
        heat(Blind(torch.ones(GREY)), torch.zeros(1, *GREY, dtype=torch.uint8))


def test_an_explanation_shows_the_detectors_own_heatmap() -> None:
    detector, images = SpotDetector(), anomalies()
    shown = heatmaps(detector, images)
    assert shown is not None
    own = detector.heatmap(images / 255)
    assert (shown[:, 0, 0] == 0).all()
    assert torch.equal(shown == 255, own >= own.flatten(1).kthvalue(1014, 1)[0][:, None, None])
    assert heatmap_source(detector) == "own"
    assert heatmap_source(bright_patch()) == "gradient"
    gradients = heatmaps(bright_patch(), torch.zeros(1, *GREY, dtype=torch.uint8))
    assert gradients is not None
    assert gradients[0, PATCH[0], PATCH[1]].float().mean() > 100


class TestAutoencoder:
    @pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 48), (1, 128, 128)])
    def test_any_size(self, shape: tuple[int, int, int]) -> None:
        assert Autoencoder(shape)(torch.rand(2, *shape)).shape == (2, *shape)

    def test_restores_what_it_knows_and_not_what_it_does_not(self) -> None:
        halves = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
        halves[0, ..., :8] = 200
        halves[1, ..., 8:] = 200
        network = train_autoencoder(halves, seed=0, steps=30)
        strange = halves.clone()
        strange[:, :, 2:6] = 100
        known, unknown = residual(network, halves), residual(network, strange)
        assert unknown[:, 3:5].mean() > 2 * known[:, 3:5].mean()

    def test_the_seed_decides(self) -> None:
        images = normal(4)
        first, again, other = (
            residual(train_autoencoder(images, seed, steps=2), images) for seed in (0, 0, 1)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_a_report_of_fcdd_shows_and_names_its_own_heatmaps(tmp_path: Path) -> None:
    detector = TrainedDetector(OBJECTIVES["fcdd"], DetectorConfig(width=4), COLOR).freeze()
    normal, outliers = sorted(
        (blue(), red()), key=lambda images: in_batches(detector, images).median().item()
    )
    explainer = Explainer(detector, tiny(steps=2)).fit(normal, outliers, seed=0)
    explanation = explainer.explain(outliers[:4], traversals=0)
    assert explanation.heatmaps is not None
    expected = heatmaps(detector, explanation.anomalies)
    assert expected is not None
    assert torch.equal(explanation.heatmaps, expected)
    explanation.save(tmp_path)
    assert read_listing(tmp_path).heatmap_label.startswith("The detector's own heatmap")
    others = replace(explanation, facts={})
    others.save(tmp_path / "others")
    assert read_listing(tmp_path / "others").heatmap_label.startswith("Input gradient")
