"""A training goes on after a break to the same end, and says what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from torch import Tensor

from ifnormal.common.errors import DivergenceError, UserError
from ifnormal.common.storage import load_tensors
from ifnormal.config import FitConfig, Weights
from ifnormal.training.fit import fit
from ifnormal.training.state import TrainingState
from known_detectors import EVERY_TERM, TINY, KnownDetector, blue, mean_color, red, tiny
from tiny_fits import InterruptedAtError, differing, interrupt, interrupted, losses, straight, train

RESUMED = {
    "two concepts by features": tiny(steps=7, checkpoint_every=3),
    "one concept": tiny(steps=7, checkpoint_every=3, concepts=1),
    "every term, three concepts by pixels": tiny(
        steps=7, checkpoint_every=3, concepts=3, concept_space="pixels", weights=EVERY_TERM
    ),
}

BEGUN = tiny(checkpoint_every=2)
ENDED = tiny(steps=4, checkpoint_every=2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fits of BEGUN, broken off at step 3, and of ENDED; to be copied."""
    folder = tmp_path_factory.mktemp("fits")
    interrupted(folder / "begun", BEGUN, 3)
    fit(mean_color(), blue(), red(), ENDED, 0, folder / "ended")
    return folder


@pytest.fixture
def begun(folders: Path, tmp_path: Path) -> Path:
    return copytree(folders / "begun", tmp_path / "begun")


@pytest.fixture
def ended(folders: Path, tmp_path: Path) -> Path:
    return copytree(folders / "ended", tmp_path / "ended")


class TestResumes:
    @pytest.mark.parametrize("config", RESUMED.values(), ids=RESUMED)
    @pytest.mark.parametrize("at", [3, 5])
    def test_to_the_same_weights_bit_for_bit(
        self, tmp_path: Path, config: FitConfig, at: int
    ) -> None:
        interrupted(tmp_path, config, at)
        torch.manual_seed(12345)
        resumed = train(config, tmp_path, resume=True)
        assert resumed.step == config.steps
        assert differing(resumed, straight(config)) == []

    def test_with_weights_of_outliers(self, tmp_path: Path) -> None:
        config = tiny(steps=7, checkpoint_every=3)
        preferred = {"weights": torch.linspace(0.1, 1, len(red()))}
        with pytest.raises(InterruptedAtError):
            train(config, tmp_path, on_step=interrupt(5), **preferred)
        resumed = train(config, tmp_path, resume=True, **preferred)
        assert differing(resumed, train(config, **preferred)) == []
        assert differing(resumed, straight(config)) != []

    def test_twice_in_a_row(self, tmp_path: Path) -> None:
        config = tiny(steps=7, checkpoint_every=2)
        interrupted(tmp_path, config, 3)
        with pytest.raises(InterruptedAtError):
            train(config, tmp_path, resume=True, on_step=interrupt(6))
        assert differing(train(config, tmp_path, resume=True), straight(config)) == []

    def test_from_the_start_without_a_checkpoint(self, tmp_path: Path) -> None:
        assert differing(train(TINY, tmp_path / "new", resume=True), straight()) == []

    def test_a_finished_run_stays_as_it_is(self, tmp_path: Path) -> None:
        config = tiny(steps=4, checkpoint_every=2)
        first, log = train(config, tmp_path), losses(tmp_path)
        assert differing(train(config, tmp_path, resume=True), first) == []
        assert losses(tmp_path) == log

    def test_the_log_has_every_step_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ifnormal.training.fit._REPORT_EVERY", 5)
        config = tiny(steps=12, checkpoint_every=6, batch_size=2)
        interrupted(tmp_path, config, 11)
        assert [line["step"] for line in losses(tmp_path)] == [5, 10]
        train(config, tmp_path, resume=True)
        assert [line["step"] for line in losses(tmp_path)] == [5, 10, 12]

    def test_only_when_asked_to(self, tmp_path: Path) -> None:
        interrupted(tmp_path, RESUMED["one concept"], 5)
        again = train(RESUMED["one concept"], tmp_path)
        assert differing(again, straight(RESUMED["one concept"])) == []

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("learning_rate", 0.0123),
            ("concepts", 3),
            ("steps", 13),
            ("weights", Weights(score=1.0)),
            ("generator", replace(TINY.generator, width=8)),
            ("concept_space", "pixels"),
        ],
    )
    def test_another_configuration_is_named(self, begun: Path, option: str, value: object) -> None:
        with pytest.raises(UserError, match=option):
            train(replace(BEGUN, **{option: value}), begun, resume=True)

    def test_another_seed_is_named(self, begun: Path) -> None:
        with pytest.raises(UserError, match="seed"):
            train(BEGUN, begun, seed=1, resume=True)

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            ((mean_color(), blue(seed=5), red()), "other normal images"),
            ((mean_color(), blue(23), red()), "other normal images"),
            ((mean_color(), blue(), red().flip(0)), "other outliers"),
            ((mean_color(gain=11.9), blue(), red()), "scores differently"),
        ],
    )
    def test_not_with_other_images_or_another_detector(
        self, ended: Path, other: tuple[Any, Tensor, Tensor], message: str
    ) -> None:
        checkpoint = (ended / "checkpoint.json").read_bytes()
        with pytest.raises(UserError, match=f"{message}.*begin anew"):
            fit(*other, ENDED, 0, ended, resume=True)
        assert (ended / "checkpoint.json").read_bytes() == checkpoint
        assert fit(mean_color(), blue(), red(), ENDED, 0, ended, resume=True).step == 4

    def test_not_from_the_checkpoint_of_an_earlier_run(self, tmp_path: Path) -> None:
        config = tiny(steps=4, checkpoint_every=2)
        train(config, tmp_path)
        with pytest.raises(InterruptedAtError):
            fit(mean_color(), blue(9), red(9), config, 0, tmp_path, on_step=interrupt(1))
        resumed = fit(mean_color(), blue(9), red(9), config, 0, tmp_path, resume=True)
        assert differing(resumed, fit(mean_color(), blue(9), red(9), config, 0)) == []

    def test_checkpoints_may_come_at_other_times(self, begun: Path) -> None:
        assert train(tiny(checkpoint_every=7), begun, resume=True).step == TINY.steps

    @pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "no JSON"])
    def test_damage_is_noticed(self, begun: Path, damage: str) -> None:
        (path,) = begun.glob("checkpoint*.safetensors")
        packed = bytearray(path.read_bytes())
        if damage == "flipped":
            packed[-5] ^= 1
            path.write_bytes(packed)
        elif damage == "cut":
            path.write_bytes(packed[: len(packed) // 2])
        elif damage == "gone":
            path.unlink()
        else:
            (begun / "checkpoint.json").write_text('{"step": ')
        with pytest.raises(UserError, match="checkpoint"):
            train(BEGUN, begun, resume=True)


def breaking(detector: KnownDetector, at: int) -> Callable[[TrainingState], None]:
    def on_step(state: TrainingState) -> None:
        detector.broken = state.step >= at

    return on_step


class TestDivergence:
    def test_names_the_term_the_step_and_the_checkpoint(self, tmp_path: Path) -> None:
        detector, config = mean_color(), tiny(checkpoint_every=3)
        with pytest.raises(DivergenceError, match=r"'score'.*step 5") as error:
            train(config, tmp_path, detector=detector, on_step=breaking(detector, 4))
        assert str(tmp_path / "checkpoint") in str(error.value)
        assert isinstance(error.value, UserError)

    def test_the_checkpoint_it_names_is_good(self, tmp_path: Path) -> None:
        detector, config = mean_color(), tiny(checkpoint_every=3)
        with pytest.raises(DivergenceError):
            train(config, tmp_path, detector=detector, on_step=breaking(detector, 4))
        resumed = train(config, tmp_path, resume=True)
        assert differing(resumed, straight(config)) == []

    def test_without_a_checkpoint(self) -> None:
        detector = mean_color()
        with pytest.raises(DivergenceError, match=r"'score'.*none"):
            train(detector=detector, on_step=breaking(detector, 1))

    def test_a_broken_gradient_does_not_reach_the_checkpoint(self, tmp_path: Path) -> None:
        class Cliff(KnownDetector):
            """Its log-odds stay finite where their gradient is not."""

            def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
                cliff = (0 * images).sqrt().sum((1, 2, 3)) if self.broken else 0.0
                log_odds, features = mean_color().inspect(images)
                return log_odds + cliff, features

        detector = Cliff(mean_color().weights)
        with pytest.raises(DivergenceError):
            train(
                tiny(checkpoint_every=1), tmp_path, detector=detector, on_step=breaking(detector, 4)
            )
        saved, _ = load_tensors(tmp_path, "checkpoint")
        assert all(v.isfinite().all() for v in saved.values())

    def test_a_learning_rate_beyond_reason(self, tmp_path: Path) -> None:
        with pytest.raises(DivergenceError, match="learning_rate"):
            train(tiny(learning_rate=1e30), tmp_path)
