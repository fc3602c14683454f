"""Baselines: neighbours by hand, descents that are accepted, and the experiment around them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
import torch

import tiny_experiments as tiny
from ifnormal.benchmarks.baselines import latent_gradient, nearest_normal
from ifnormal.benchmarks.experiment import BenchRun, Finished, Selection, Workplace
from ifnormal.benchmarks.experiments.baselines import EXPERIMENT
from ifnormal.benchmarks.heatmaps.autoencoder import train_autoencoder
from ifnormal.benchmarks.materials import Materials
from ifnormal.common.errors import UserError
from ifnormal.explainers.scored_edits import answer
from known_detectors import blue, mean_color, red
from tiny_runs import shrink_figures


def test_the_nearest_normal_images_are_those_with_the_nearest_features() -> None:
    detector = mean_color()
    normal = torch.stack([torch.full((3, 16, 16), v, dtype=torch.uint8) for v in (0, 0, 90, 200)])
    anomalies = torch.stack([torch.full((3, 16, 16), v, dtype=torch.uint8) for v in (80, 210)])
    found = nearest_normal(detector, anomalies, normal, ["a", "b"], concepts=2)
    values = found.counterfactuals[:, :, 0, 0, 0]
    assert values.tolist() == [[90, 0], [200, 90]]
    with pytest.raises(UserError, match="3 different normal images"):
        nearest_normal(detector, anomalies, normal, ["a", "b"], concepts=4)


def test_neighbours_agree_with_brute_force() -> None:
    detector, normal, anomalies = mean_color(), blue(20), red(6)
    found = nearest_normal(detector, anomalies, normal, list("abcdef"), concepts=3)
    known, asked = (detector.inspect(x.float() / 255)[1] for x in (normal, anomalies))
    for n in range(6):
        order = (known - asked[n]).square().sum(1).argsort()[:3]
        assert torch.equal(found.counterfactuals[n], normal[order])


def test_codes_lead_to_accepted_decodings_that_are_no_plain_copies() -> None:
    detector, anomalies = mean_color(), red(4)
    found = latent_gradient(detector, anomalies, blue(24), list("abcd"), 0, 60, 40)
    assert found.valid.all()
    assert found.flagged.all()
    assert found.counterfactuals.shape == (4, 1, 3, 16, 16)


def test_without_a_step_the_answer_is_what_the_autoencoder_makes_of_the_image() -> None:
    found = latent_gradient(mean_color(), red(2), blue(24), ["a", "b"], 0, 0, 2)
    assert not torch.equal(found.counterfactuals[:, 0], red(2))
    assert found.facts["restoration_error"] > 0


def test_an_answer_is_scored_on_its_own_pixels() -> None:
    detector, anomalies = mean_color(), red(3)
    edits = torch.stack([anomalies, blue(3)], 1)
    found = answer(detector, anomalies, edits, list("abc"), {"method": "m"})
    assert torch.allclose(found.calibrated_scores_after[:, 0], found.calibrated_scores_before)
    assert found.valid.tolist() == [[False, True]] * 3
    assert found.concept_probabilities.sum(2).allclose(torch.ones(3, 2))


def test_every_method_is_planned_on_the_same_setups_and_detectors(tmp_path: Path) -> None:
    planned = EXPERIMENT.plan(Selection())
    methods = {run.variant for run in planned}
    assert len(methods) == 7
    setups = {run.setup for run in planned}
    assert "cmnist/one+cyan" in setups
    assert sum(one.startswith("mnist/one-vs-rest/") for one in setups) == 10
    for variant in methods:
        assert {run.setup for run in planned if run.variant == variant} == setups
    chosen = EXPERIMENT.plan(Selection(only="mnist/one-vs-rest/3", detectors=("hsc",)))
    assert {run.setup for run in chosen} == {"mnist/one-vs-rest/3"}
    assert {run.detector for run in chosen} == {"hsc"}
    figures = {"truly_normal": [40.0, 60.0], "two_ways": None}
    finished = [Finished(run, figures, tmp_path) for run in chosen if run.variant == "pixels"]
    (table,) = EXPERIMENT.tables(chosen, finished)
    cells = dict(zip(table.columns, table.rows["gradient on pixels"], strict=True))
    assert cells["truly normal, %"].mean == 50
    assert cells["two minimal ways, %"].text == "does not apply"
    missing = dict(zip(table.columns, table.rows["the method"], strict=True))
    assert missing["truly normal, %"].runs == 0
    assert missing["truly normal, %"].expected == 1


def test_a_second_detector_is_asked_and_figures_are_left_to_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink_figures(monkeypatch)
    trained: list[torch.Tensor] = []

    def few_steps(normal: torch.Tensor, seed: int, steps: int) -> object:
        trained.append(normal)
        return train_autoencoder(normal, seed, 2)

    module = import_module(
        "ifnormal.benchmarks.baselines.latent_gradient"
    )  # the function hides its name
    monkeypatch.setattr(module, "train_autoencoder", few_steps)
    run = BenchRun("baselines", "colored-mnist", "bce", 0, "codes", options=tiny.COLORED_OPTIONS)
    figures = EXPERIMENT.perform(run, tmp_path / "run", Workplace(tmp_path))
    assert all(0 <= share <= 100 for share in figures["second_detector_agrees"])
    assert len(list((tmp_path / "shared" / "detectors").glob("*/detector.json"))) == 2
    assert (tmp_path / "run" / "report.html").exists()
    assert not (tmp_path / "run" / "metrics.json").exists()
    (images,) = trained
    setup = Materials(run, tmp_path / "run", Workplace(tmp_path)).setup
    assert torch.equal(images, setup.train_normal)
