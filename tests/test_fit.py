"""The training learns what it should, in any shape, and repeats."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.config import Weights
from ifnormal.training.fit import fit
from ifnormal.training.state import TrainingState
from known_detectors import EVERY_TERM, TINY, blue, bright_patch, mean_color, red, squares, tiny
from tiny_fits import differing, losses, train, weights

TERMS = [term.name for term in fields(Weights)]


@pytest.fixture(scope="module")
def learned() -> TrainingState:
    plain = Weights(gan=0.0, concept=0.0, mode=0.0, score=10.0)
    return train(tiny(steps=60, learning_rate=1e-2, ema=0.9, weights=plain))


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
            tiny(steps=80, concepts=1, weights=alone, ema=0.9, learning_rate=2e-2),
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

from ifnormal.common.compute import make_fabric
from ifnormal.training import fit as module
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
