"""Recipes and kinds of access on Colored-MNIST: what is planned, shown, and run in small."""

from __future__ import annotations

import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import tiny_experiments as tiny
from ifnormal.benchmarks.attempt import attempt
from ifnormal.benchmarks.experiment import Experiment, Finished, Selection, Workplace
from ifnormal.benchmarks.experiments import access, paper, recipes
from ifnormal.benchmarks.options import configs_of
from ifnormal.benchmarks.sweep import planned
from ifnormal.common.storage import read_json
from ifnormal.config import DataConfig, DetectorConfig, FitConfig, Weights
from ifnormal.data import load_setup
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import log_odds_of


def test_recipes_differ_in_the_terms_that_they_are_named_after() -> None:
    fits = {run.variant: configs_of(run, None).fit for run in recipes.EXPERIMENT.plan(Selection())}
    assert fits["shipped"] == FitConfig()
    no_more = {"minimality": 0.0, "structure": 0.0, "path": 0.0}
    assert fits["modes"] == replace(FitConfig(), weights=replace(Weights(), **no_more))
    bare = replace(Weights(), **no_more, mode=0.0, concept=1.0)
    features = replace(FitConfig(), weights=replace(bare, contrast=2.0), conditional=False)
    assert fits["features"] == features
    assert fits["pixels"].weights == replace(bare, diversity=10.0)
    assert (fits["pixels"].concept_space, fits["pixels"].concept_noise) == ("pixels", 0.1)


def test_a_recipe_has_a_row_for_validation_and_one_for_test(tmp_path: Path) -> None:
    plan = recipes.EXPERIMENT.plan(Selection(seeds=(0, 1)))
    metrics = {"two_ways": 80.0, "validation": {"two_ways": 70.0, "truly_normal": [50.0, 60.0]}}
    finished = [Finished(run, metrics, tmp_path) for run in plan if run.variant == "shipped"]
    validation, test = recipes.EXPERIMENT.tables(plan, finished)
    names = [name for name, _ in recipes.RECIPES.values()]
    assert list(validation.rows) == list(test.rows) == names
    column = recipes.KEYS.index("two_ways")
    assert validation.rows[names[3]][column].mean == 70
    assert test.rows[names[3]][column].mean == 80
    assert validation.rows[names[3]][0].mean == 55
    assert test.rows[names[0]][column].expected == 2


@pytest.mark.parametrize("kind", list(access.ACCESSES))
def test_every_access_gives_the_scores_of_the_network(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("mlxtend")
    if kind == access.ONNX and find_spec("onnx2torch") is None:
        pytest.skip("needs the extra onnx")
    setup = load_setup(DataConfig(drawings=200, outliers=64), 0)
    network = train_detector(setup, DetectorConfig(steps=2, batch_size=8, width=4), 0)
    images = setup.test_anomalies[:6]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own export
        detector = access.accessed(network, kind, tmp_path)
    told, expected = (one.own_units(log_odds_of(one, images)) for one in (detector, network))
    assert torch.allclose(told.float(), expected.float(), atol=1e-5)
    assert detector.own_threshold == pytest.approx(network.own_threshold)
    assert detector.is_black_box == (kind == access.BLACK_BOX)


def test_the_setup_of_the_demo_is_planned_by_its_name_alone() -> None:
    named = planned("paper", Selection(only="colored-mnist"))
    assert {run.setup for run in named} == {"colored-mnist"}
    assert [run.detector for run in named] == ["bce", "hsc", "dsvdd"]
    assert all(run.content for run in named), "another default makes another run"
    assert "colored-mnist" not in {run.setup for run in planned("paper", Selection(only="*mnist*"))}
    one, *_ = paper.tables(named, [])
    assert list(one.rows) == ["C-MNIST of the demo, several"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "variant"),
    [
        (recipes.EXPERIMENT, "pixels"),
        *((access.EXPERIMENT, kind) for kind in access.ACCESSES),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_tiny_run_from_end_to_end(experiment: Experiment, variant: str, tmp_path: Path) -> None:
    pytest.importorskip("mlxtend")
    runs = experiment.plan(Selection())
    planned = next(run for run in runs if run.variant == variant)
    few = {"fit.surrogate.query_budget": 500, "fit.surrogate.steps": 10}
    run = replace(planned, options={**planned.options, **tiny.COLORED_OPTIONS, **few})
    outcome = attempt(run, Workplace(tmp_path))
    assert outcome.state == "done", outcome
    figures = read_json(tmp_path / run.key / "metrics.json")
    for table in experiment.tables([run], [Finished(run, figures, tmp_path / run.key)]):
        (row,) = table.rows.values()
        assert row[0].runs == 1
    assert (figures.get("queries") is None) == (variant != access.BLACK_BOX)
