"""The training learns what it should, repeats, goes on after a break, and says what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ifnormal.config import FitConfig, Weights
from ifnormal.errors import DivergenceError, UserError
from ifnormal.fit import fit
from ifnormal.pixels import to_float
from ifnormal.storage import load_tensors
from ifnormal.training_state import TrainingState, unwrapped
from known_detectors import (
    EVERY_TERM,
    TINY,
    KnownDetector,
    blue,
    bright_patch,
    mean_color,
    red,
    squares,
    tiny,
)

TERMS = [term.name for term in fields(Weights)]


def train(config: FitConfig = TINY, folder: Path | None = None, **options: Any) -> TrainingState:
    options = {"detector": mean_color(), "seed": 0, **options}
    detector = options.pop("detector")
    if "sources" not in options:  # as if every red image had been made of a blue one
        options["sources"] = torch.arange(len(red())) % len(blue())
    return fit(detector, blue(), red(), config, folder=folder, **options)


def weights(state: TrainingState) -> dict[str, Tensor]:
    """Everything that was learned, and the state of randomness."""
    nets = {
        "generator": unwrapped(state.generator),
        "averaged": state.averaged,
        "discriminator": unwrapped(state.discriminator),
        "classifier": unwrapped(state.classifier),
        "modes": state.modes,
    }
    values = {f"{n}.{k}": v for n, net in nets.items() for k, v in net.state_dict().items()}
    return {**values, "random": state.random.get_state()}


def differing(first: TrainingState, second: TrainingState) -> list[str]:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def losses(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


class InterruptedAtError(Exception):
    """Stands for a power cut."""


def interrupt(at: int) -> Callable[[TrainingState], None]:
    def on_step(state: TrainingState) -> None:
        if state.step == at:
            raise InterruptedAtError

    return on_step


def interrupted(folder: Path, config: FitConfig, at: int) -> None:
    with pytest.raises(InterruptedAtError):
        train(config, folder, on_step=interrupt(at))


@pytest.fixture(scope="module")
def learned() -> TrainingState:
    plain = Weights(gan=0.0, concept=0.0, mode=0.0, score=10.0)
    return train(tiny(steps=150, learning_rate=5e-3, ema=0.9, weights=plain))


class TestLearns:
    def edited(self, learned: TrainingState, images: Tensor, target: float, concept: int) -> Tensor:
        count = len(images)
        with torch.no_grad():
            return learned.averaged(
                images, torch.full((count,), target), torch.full((count,), concept)
            )[0]

    @pytest.mark.parametrize("concept", [0, 1])
    def test_counterfactual_scores_fall(self, learned: TrainingState, concept: int) -> None:
        detector, anomalies = mean_color(), to_float(red(8, seed=9))
        scores = detector(self.edited(learned, anomalies, 0.0, concept))
        assert detector(anomalies).min() > 0.8
        assert scores.mean() < 0.4

    def test_targets_are_followed(self, learned: TrainingState) -> None:
        detector, images = mean_color(), to_float(torch.cat([red(4, seed=9), blue(4, seed=8)]))
        scores = [
            detector(self.edited(learned, images, t, 0)).mean().item() for t in (0.0, 0.5, 1.0)
        ]
        assert scores[0] < scores[1] - 0.05
        assert scores[1] < scores[2] - 0.05

    def test_edits_are_for_the_detectors_reason(self, learned: TrainingState) -> None:
        anomalies = to_float(red(8, seed=9))
        change = (self.edited(learned, anomalies, 0.0, 0) - anomalies).mean((0, 2, 3))
        assert change[2] - change[0] > 2 * change[1].abs()


class TestAnyShape:
    @pytest.mark.parametrize("concepts", [1, 2, 3])
    @pytest.mark.parametrize("space", ["pixels", "features"])
    def test_concepts(self, concepts: int, space: str) -> None:
        config = tiny(steps=3, concepts=concepts, concept_space=space, weights=EVERY_TERM)
        state = train(config)
        assert state.step == 3
        assert all(v.isfinite().all() for v in weights(state).values())

    @pytest.mark.parametrize("size", [1, 2, 3, 5])
    def test_batch_sizes(self, size: int) -> None:
        assert train(tiny(steps=4, batch_size=size)).step == 4

    def test_grey_images(self) -> None:
        detector = bright_patch()
        bright, dark = (squares(20, 0, detector.shape, seed) for seed in (0, 1))
        state = fit(detector, dark // 3, bright, tiny(steps=3), seed=0)
        assert state.step == 3

    def test_one_image_of_each_kind_and_one_concept(self) -> None:
        config = tiny(steps=2, concepts=1)
        assert fit(mean_color(), blue(2), red(1), config, seed=0).step == 2

    @pytest.mark.parametrize("option", ["hinge", "unconditional", "only halves", "no halves"])
    def test_other_options(self, option: str) -> None:
        changed: dict[str, Any] = {
            "hinge": {"generator_loss": "hinge"},
            "unconditional": {"conditional": False},
            "only halves": {"targets_zero": 0.0, "targets_one": 0.0},
            "no halves": {"targets_zero": 0.5, "targets_one": 0.5},
        }
        state = train(tiny(steps=4, **changed[option]))
        assert all(v.isfinite().all() for v in weights(state).values())

    @pytest.mark.parametrize("numbers", [(0, 4), (4, 0)])
    def test_both_kinds_of_images_are_needed(self, numbers: tuple[int, int]) -> None:
        normal, outliers = numbers
        with pytest.raises(UserError, match=f"{normal} and {outliers}"):
            fit(mean_color(), blue(normal), red(outliers), TINY, seed=0)


class TestWeights:
    def test_every_term_is_logged(self, tmp_path: Path) -> None:
        train(tiny(steps=2, weights=EVERY_TERM), tmp_path)
        assert set(losses(tmp_path)[-1]) == {*TERMS, "discriminator", "step", "seconds"}

    @pytest.mark.parametrize("term", TERMS)
    def test_0_switches_a_term_off_and_no_other(self, tmp_path: Path, term: str) -> None:
        train(tiny(steps=1, weights=replace(EVERY_TERM, **{term: 0.0})), tmp_path)
        gone = set(TERMS) - set(losses(tmp_path)[-1])
        # Without R there is nobody who could see no concept.
        assert gone == ({term, "no_concept"} if term == "concept" else {term})

    def test_a_single_term_is_enough(self, tmp_path: Path) -> None:
        alone = replace(Weights(**dict.fromkeys(TERMS, 0.0)), reconstruction=1.0)
        train(tiny(steps=2, weights=alone), tmp_path)
        assert set(losses(tmp_path)[-1]) & set(TERMS) == {"reconstruction"}


class TestRestoration:
    def test_none_without_known_sources(self, tmp_path: Path) -> None:
        for sources in (None, torch.full((len(red()),), -1)):
            train(tiny(steps=1), tmp_path, sources=sources)
            assert "restoration" not in losses(tmp_path)[-1]

    def test_synthetic_outliers_become_what_they_were_made_of(self) -> None:
        """Nothing but restoration is asked for, and only it says which blue a red had been."""
        alone = replace(Weights(**dict.fromkeys(TERMS, 0.0)), restoration=10.0)
        sources = torch.zeros(len(red()), dtype=torch.int64)
        state = train(
            tiny(steps=150, concepts=1, weights=alone, ema=0.9, learning_rate=1e-2),
            sources=sources,
        )
        before, wanted = to_float(red()), to_float(blue())[:1]
        zeros = torch.zeros(len(before)), torch.zeros(len(before), dtype=torch.int64)
        with torch.no_grad():
            after, _ = state.averaged(before, *zeros)
        assert (after - wanted).abs().mean() < 0.5 * (before - wanted).abs().mean()


class TestRepeats:
    def test_the_same_seed_gives_the_same_weights(self) -> None:
        assert differing(train(tiny(steps=4)), train(tiny(steps=4))) == []

    def test_another_seed_gives_others(self) -> None:
        first, other = train(tiny(steps=2)), train(tiny(steps=2), seed=1)
        assert {"generator.stem.weight", "averaged.stem.weight", "random"} <= set(
            differing(first, other)
        )

    def test_the_users_own_randomness_makes_no_difference(self) -> None:
        first = train(tiny(steps=2))
        torch.rand(17)
        assert differing(first, train(tiny(steps=2))) == []


RESUMED = {
    "two concepts by features": tiny(steps=12, checkpoint_every=5),
    "one concept": tiny(steps=12, checkpoint_every=5, concepts=1),
    "every term, three concepts by pixels": tiny(
        steps=12, checkpoint_every=5, concepts=3, concept_space="pixels", weights=EVERY_TERM
    ),
}


class TestResumes:
    @pytest.mark.parametrize("config", RESUMED.values(), ids=RESUMED)
    @pytest.mark.parametrize("at", [5, 8])
    def test_to_the_same_weights_bit_for_bit(
        self, tmp_path: Path, config: FitConfig, at: int
    ) -> None:
        interrupted(tmp_path, config, at)
        torch.manual_seed(12345)
        resumed = train(config, tmp_path, resume=True)
        assert resumed.step == config.steps
        assert differing(resumed, train(config)) == []

    def test_twice_in_a_row(self, tmp_path: Path) -> None:
        config = tiny(steps=12, checkpoint_every=3)
        interrupted(tmp_path, config, 4)
        with pytest.raises(InterruptedAtError):
            train(config, tmp_path, resume=True, on_step=interrupt(10))
        assert differing(train(config, tmp_path, resume=True), train(config)) == []

    def test_from_the_start_without_a_checkpoint(self, tmp_path: Path) -> None:
        assert differing(train(TINY, tmp_path / "new", resume=True), train(TINY)) == []

    def test_a_finished_run_stays_as_it_is(self, tmp_path: Path) -> None:
        config = tiny(steps=4, checkpoint_every=2)
        first, log = train(config, tmp_path), losses(tmp_path)
        assert differing(train(config, tmp_path, resume=True), first) == []
        assert losses(tmp_path) == log

    def test_the_log_has_every_step_once(self, tmp_path: Path) -> None:
        config = tiny(steps=60, checkpoint_every=30, batch_size=2)
        interrupted(tmp_path, config, 55)
        assert [line["step"] for line in losses(tmp_path)] == [25, 50]
        train(config, tmp_path, resume=True)
        assert [line["step"] for line in losses(tmp_path)] == [25, 50, 60]

    def test_only_when_asked_to(self, tmp_path: Path) -> None:
        interrupted(tmp_path, RESUMED["one concept"], 8)
        again = train(RESUMED["one concept"], tmp_path)
        assert differing(again, train(RESUMED["one concept"])) == []

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
    def test_another_configuration_is_named(
        self, tmp_path: Path, option: str, value: object
    ) -> None:
        config = tiny(checkpoint_every=2)
        interrupted(tmp_path, config, 3)
        with pytest.raises(UserError, match=option):
            train(replace(config, **{option: value}), tmp_path, resume=True)

    def test_another_seed_is_named(self, tmp_path: Path) -> None:
        config = tiny(checkpoint_every=2)
        interrupted(tmp_path, config, 3)
        with pytest.raises(UserError, match="seed"):
            train(config, tmp_path, seed=1, resume=True)

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
        self, tmp_path: Path, other: tuple[Any, Tensor, Tensor], message: str
    ) -> None:
        config = tiny(checkpoint_every=2)
        fit(mean_color(), blue(), red(), replace(config, steps=4), 0, tmp_path)
        checkpoint = (tmp_path / "checkpoint.json").read_bytes()
        with pytest.raises(UserError, match=f"{message}.*begin anew"):
            fit(*other, replace(config, steps=4), 0, tmp_path, resume=True)
        assert (tmp_path / "checkpoint.json").read_bytes() == checkpoint
        again = fit(mean_color(), blue(), red(), replace(config, steps=4), 0, tmp_path, resume=True)
        assert again.step == 4

    def test_not_from_the_checkpoint_of_an_earlier_run(self, tmp_path: Path) -> None:
        config = tiny(steps=4, checkpoint_every=2)
        train(config, tmp_path)
        with pytest.raises(InterruptedAtError):
            fit(mean_color(), blue(9), red(9), config, 0, tmp_path, on_step=interrupt(1))
        resumed = fit(mean_color(), blue(9), red(9), config, 0, tmp_path, resume=True)
        assert differing(resumed, fit(mean_color(), blue(9), red(9), config, 0)) == []

    def test_checkpoints_may_come_at_other_times(self, tmp_path: Path) -> None:
        interrupted(tmp_path, tiny(checkpoint_every=2), 3)
        assert train(tiny(checkpoint_every=7), tmp_path, resume=True).step == TINY.steps

    @pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "no JSON"])
    def test_damage_is_noticed(self, tmp_path: Path, damage: str) -> None:
        config = tiny(checkpoint_every=2)
        interrupted(tmp_path, config, 3)
        (path,) = tmp_path.glob("checkpoint*.safetensors")
        packed = bytearray(path.read_bytes())
        if damage == "flipped":
            packed[-5] ^= 1
            path.write_bytes(packed)
        elif damage == "cut":
            path.write_bytes(packed[: len(packed) // 2])
        elif damage == "gone":
            path.unlink()
        else:
            (tmp_path / "checkpoint.json").write_text('{"step": ')
        with pytest.raises(UserError, match="checkpoint"):
            train(config, tmp_path, resume=True)


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
        assert differing(resumed, train(config)) == []

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


def test_on_step_sees_every_step() -> None:
    seen: list[int] = []
    train(tiny(steps=5), on_step=lambda state: seen.append(state.step))
    assert seen == [1, 2, 3, 4, 5]


def test_the_speed_is_measured() -> None:
    assert train(tiny(steps=2)).images_per_second > 0


def test_the_detector_and_the_images_stay_as_they_were() -> None:
    detector, normal, outliers = mean_color(), blue(), red()
    before = detector.weights.clone()
    fit(detector, normal, outliers, tiny(steps=2), seed=0)
    assert torch.equal(detector.weights, before)
    assert detector.weights.grad is None
    assert torch.equal(normal, blue())
    assert torch.equal(outliers, red())


TWO_PROCESSES = """
import sys
from functools import partial
from pathlib import Path

import torch

from ifnormal import fit as module
from ifnormal.compute import make_fabric
from known_detectors import blue, mean_color, red, tiny

module.make_fabric = partial(make_fabric, devices=2)
folder = Path(sys.argv[1])
config = tiny(steps=4, checkpoint_every=2, batch_size=4)
state = module.fit(mean_color(), blue(), red(), config, 0, folder)
rank = torch.distributed.get_rank()
torch.save((state.averaged.state_dict(), state.random.get_state()), folder / f"rank{rank}.pt")
"""


@pytest.mark.slow
def test_two_processes_learn_the_same_from_different_images(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES)
    here = {"GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, **here},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (first, random), (second, other) = (
        torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(random, other)
    assert [line["step"] for line in losses(tmp_path)] == [4]
