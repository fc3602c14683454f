"""What experiments are made of: options in their order, and nothing trained twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ifnormal.benchmarks.experiment import BenchRun, Workplace
from ifnormal.benchmarks.options import configs_of, with_options
from ifnormal.benchmarks.pictures import write_preview
from ifnormal.benchmarks.shared import shared_detector
from ifnormal.common.errors import UserError
from ifnormal.config import DetectorConfig, FitConfig, GeneratorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.pixel_editor import PixelEditor
from ifnormal.explanation.explanation import Explanation
from ifnormal.jobs import made_once
from ifnormal.jobs.made_once import fitted

DETECTOR = DetectorConfig(steps=4, batch_size=8, width=4)
FIT = FitConfig(
    steps=4,
    batch_size=4,
    generator=GeneratorConfig(width=4, outer_blocks=1, inner_blocks=1),
    discriminator_width=4,
    checkpoint_every=2,
)


def setup(seed: int = 0) -> AnomalySetup:
    """Dark images are normal, bright ones are not."""
    random = torch.Generator().manual_seed(seed)

    def images(count: int, low: int, high: int) -> torch.Tensor:
        return torch.randint(low, high, (count, 1, 16, 16), generator=random, dtype=torch.uint8)

    return AnomalySetup(
        name="dark",
        normal="dark images",
        train_normal=images(40, 0, 90),
        validation_normal=images(20, 0, 90),
        validation_anomalies=images(8, 150, 255),
        test_normal=images(12, 0, 90),
        test_anomalies=images(6, 150, 255),
        outliers=images(40, 120, 255),
        validation_outliers=images(20, 120, 255),
    )


class TestOptions:
    def test_the_last_word_counts(self) -> None:
        run = BenchRun("paper", "mnist/one-vs-rest/7", "hsc", 0)
        budget = configs_of(run, None)
        assert budget.data.setup == "mnist/one-vs-rest/7"
        assert budget.detector.objective == "hsc"
        assert budget.detector.steps != DetectorConfig().steps, "the card's, not the default"
        options = {"detector.steps": 7, "fit.weights.score": 0.5, "fit.concepts": 3}
        changed = configs_of(replace(run, options=options), Path("data"))
        assert changed.detector == replace(budget.detector, steps=7)
        assert (changed.fit.weights.score, changed.fit.concepts) == (0.5, 3)
        assert changed.fit.weights.gan == budget.fit.weights.gan
        assert changed.data.data_root == Path("data")
        assert configs_of(replace(run, budget="paper"), None).fit.steps > budget.fit.steps

    def test_detectors_that_are_no_objective_keep_the_budgets(self) -> None:
        run = BenchRun("x", "mnist/one-vs-rest/7", "supervised", 0)
        assert configs_of(run, None).detector.objective == "bce"

    @pytest.mark.parametrize("name", ["fit.step", "fits.steps", "fit.steps.more", "steps"])
    def test_unknown_ones_are_told(self, name: str) -> None:
        run = BenchRun("x", "colored-mnist", "bce", 0, options={name: 3})
        with pytest.raises(UserError, match="There is no option"):
            configs_of(run, None)

    def test_values_out_of_range_are_told(self) -> None:
        with pytest.raises(UserError, match="concepts must be at least 1"):
            with_options(FIT, {"concepts": 0})


class TestDetector:
    def test_is_trained_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first, made = shared_detector(setup(), DETECTOR, 0, Workplace(tmp_path))

        def never(*_: Any) -> None:
            raise AssertionError("it is trained again")

        with monkeypatch.context() as patch:
            patch.setattr(made_once, "train_detector", never)
            second, found = shared_detector(setup(), DETECTOR, 0, Workplace(tmp_path))
        assert made == found
        for name, weights in first.state_dict().items():
            assert torch.equal(weights, second.state_dict()[name])
        assert (found.folder / "losses.jsonl").exists()

    def test_another_one_is_another_one(self, tmp_path: Path) -> None:
        place = Workplace(tmp_path)
        folders = {
            shared_detector(setup(), DETECTOR, 0, place)[1].folder,
            shared_detector(setup(), DETECTOR, 1, place)[1].folder,
            shared_detector(setup(1), DETECTOR, 0, place)[1].folder,
            shared_detector(setup(), replace(DETECTOR, steps=5), 0, place)[1].folder,
        }
        assert len(folders) == 4
        assert all(folder.parent == tmp_path / "shared" / "detectors" for folder in folders)

    def test_two_runs_at_once_train_it_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trained: list[int] = []

        def slow(*arguments: Any) -> Any:
            trained.append(1)
            time.sleep(0.2)
            return train(*arguments)

        train = made_once.train_detector
        monkeypatch.setattr(made_once, "train_detector", slow)
        images = setup()

        def work() -> None:
            shared_detector(images, DETECTOR, 0, Workplace(tmp_path))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert trained == [1]

    def test_half_of_one_is_trained_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def dies(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(made_once, "train_detector", dies)
            with pytest.raises(KeyboardInterrupt):
                shared_detector(setup(), DETECTOR, 0, Workplace(tmp_path))
        detector, _ = shared_detector(setup(), DETECTOR, 0, Workplace(tmp_path))
        assert detector.shape == (1, 16, 16)


def pixel() -> PixelEditor:
    return PixelEditor(FIT)


class TestExplainer:
    def weights(self, explainer: Explainer) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in explainer.generator.parameters()])

    def test_goes_on_after_a_break_and_is_then_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images = setup()
        detector, _ = shared_detector(images, DETECTOR, 0, Workplace(tmp_path))
        whole = self.weights(fitted(tmp_path / "whole", pixel, 0, images, detector))
        assert not list((tmp_path / "whole").glob("checkpoint*")), "of no use any more"

        def dies(*_: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Explainer, "save", dies)
            with pytest.raises(KeyboardInterrupt):
                fitted(tmp_path / "broken", pixel, 0, images, detector)
        assert (tmp_path / "broken" / "checkpoint.json").exists()
        resumed = fitted(tmp_path / "broken", pixel, 0, images, detector)
        assert torch.equal(self.weights(resumed), whole)
        with monkeypatch.context() as patch:
            patch.setattr(Explainer, "fit", dies)
            loaded = fitted(tmp_path / "broken", pixel, 0, images, detector)
        assert torch.equal(self.weights(loaded), whole)

    def test_of_another_detector_is_fitted_anew(self, tmp_path: Path) -> None:
        images = setup()
        one, _ = shared_detector(images, DETECTOR, 0, Workplace(tmp_path))
        other, _ = shared_detector(images, DETECTOR, 1, Workplace(tmp_path))
        before = self.weights(fitted(tmp_path / "explainer", pixel, 0, images, one))
        after = self.weights(fitted(tmp_path / "explainer", pixel, 0, images, other))
        assert not torch.equal(before, after)


@pytest.mark.parametrize("channels", [1, 3])
def test_preview_shows_each_anomaly_beside_its_counterfactuals(
    tmp_path: Path, make_explanation: Callable[..., Explanation], channels: int
) -> None:
    explanation = make_explanation(n=3, k=2, channels=channels)
    path = write_preview(tmp_path / "preview.png", explanation, anomalies=2)
    with Image.open(path) as image:
        sheet = image.convert("RGB")
    shown = [(0, 12), (2, 12 + 116)]  # the first and the last anomaly, and the tops of their rows
    for n, top in shown:
        pictures = [explanation.anomalies[n], *explanation.counterfactuals[n]]
        for column, pixels in enumerate(pictures):
            side = 96 // 9  # 8 x 9 pixels, each a square
            left = 12 + column * 100 + (96 - 9 * side) // 2
            corner = (left + side // 2, top + (96 - 8 * side) // 2 + side // 2)
            expected = pixels[:, 0, 0].tolist() * (3 if channels == 1 else 1)
            assert list(sheet.getpixel(corner) or ()) == expected  # type: ignore[arg-type]
