"""The game in the plane: exact cells, divergences by hand, and which way it goes."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from ifnormal.benchmarks.experiment import BenchRun, Finished, Selection
from ifnormal.benchmarks.experiments.theory import EXPERIMENT
from ifnormal.benchmarks.line_chart import Chart, draw
from ifnormal.benchmarks.toy_game import (
    CELLS,
    REACH,
    ToyDensity,
    ToyGame,
    divergence,
    histogram,
    play,
    total_variation,
    two_clouds,
)


def test_cells_hold_all_probability_and_split_a_centred_cloud_evenly() -> None:
    one = ToyDensity(torch.ones(1), torch.zeros(1, 2), torch.ones(1, 2))
    cells = one.cells()
    assert cells.sum().item() == pytest.approx(1, abs=1e-5)
    grid = cells[:-1].view(CELLS, CELLS)
    assert grid[: CELLS // 2].sum().item() == pytest.approx(grid[CELLS // 2 :].sum().item())
    within = math.erf(REACH / math.sqrt(2)) ** 2
    assert grid.sum().item() == pytest.approx(within, abs=1e-5)


def test_the_histogram_puts_points_into_the_cells_of_the_density() -> None:
    step = 2 * REACH / CELLS
    points = torch.tensor([[-REACH + 0.1, -REACH + 1.5 * step], [REACH - 0.01, 0.0], [9.0, 0.0]])
    shares = histogram(points)
    assert shares[1].item() == pytest.approx(1 / 3)
    assert shares[-1].item() == pytest.approx(1 / 3)
    assert shares[(CELLS - 1) * CELLS + CELLS // 2].item() == pytest.approx(1 / 3)


def test_a_sample_of_the_density_is_near_it_and_a_moved_one_is_not() -> None:
    density, rng = two_clouds(), torch.Generator().manual_seed(0)
    sample = density.sample(20_000, rng)
    assert total_variation(histogram(sample), density.cells()) < 0.05
    assert total_variation(histogram(-sample), density.cells()) > 0.3


def test_divergences_by_hand() -> None:
    q, p = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.5, 0.25])
    assert total_variation(q, p) == pytest.approx(0.25)
    assert divergence(q, p) == pytest.approx(0.5 * math.log(2))


def test_the_best_value_is_what_the_derivation_says_of_any_two_distributions() -> None:
    """max over D in [-1, 1] of Σ p min(0, D − 1) + q min(0, −1 − D), by trying many D."""
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.1, 0.3, 0.6])
    tried = torch.linspace(-3, 3, 601)[:, None]
    best = (p * (tried - 1).clamp(max=0) + q * (-1 - tried).clamp(max=0)).amax(0).sum()
    assert best.item() == pytest.approx(-2 * (1 - total_variation(q, p)), abs=1e-5)


def test_a_detector_that_knows_draws_points_to_the_normal_side() -> None:
    plain = play(ToyGame(steps=200), two_clouds(), 0)[-1]
    drawn = play(ToyGame(steps=200, score_weight=3.0), two_clouds(), 0)[-1]
    assert drawn["to_normal"] > 95
    assert drawn["total_variation"] > plain["total_variation"] + 0.1
    assert drawn["score"] < plain["score"]


def test_the_same_seed_plays_the_same_game() -> None:
    rows = [play(ToyGame(steps=100), two_clouds(), 3) for _ in range(2)]
    assert rows[0] == rows[1]
    assert [row["step"] for row in rows[0]] == [0, 100]


def test_plan_tables_and_figure(tmp_path: Path) -> None:
    planned = EXPERIMENT.plan(Selection(seeds=(0, 1)))
    assert len({run.key for run in planned}) == len(planned) == 10
    assert EXPERIMENT.plan(Selection(only="mnist/*")) == []
    row = {"step": 0, "total_variation": 0.5, "value": -1.0, "kl": 1.0}
    finished = [
        Finished(run, {**row, "rows": [row, {**row, "step": 100}]}, tmp_path) for run in planned[:5]
    ]
    (table,) = EXPERIMENT.tables(planned, finished)
    assert [cells[0].mean for cells in table.rows.values()] == [0.5] * 5
    assert all(cells[0].runs == 1 and cells[0].expected == 2 for cells in table.rows.values())
    assert EXPERIMENT.figures is not None
    (path,) = EXPERIMENT.figures(finished, tmp_path)
    root = ElementTree.parse(path).getroot()
    assert root.tag.endswith("svg")
    assert EXPERIMENT.figures([], tmp_path) == []


def test_a_line_of_a_chart_runs_from_corner_to_corner() -> None:
    svg = draw([Chart("a < b", "steps", {"up & down": [(0, 0), (10, 1)]})], "t")
    root = ElementTree.fromstring(svg)
    assert "a < b" in "".join(root.itertext())
    paths = [e.get("d", "") for e in root.iter() if e.tag.endswith("path")]
    assert any(d.startswith("M52.0 186.0L368.0 30.0") for d in paths)
    with pytest.raises(ValueError, match="no points"):
        draw([Chart("empty", "steps", {})], "t")


def test_the_run_has_what_the_table_shows(tmp_path: Path) -> None:
    run = BenchRun("theory", "two-clouds", "none", 0, options={"steps": 100})
    from ifnormal.benchmarks.experiment import Workplace

    figures = EXPERIMENT.perform(run, tmp_path, Workplace(tmp_path))
    assert figures["value"] == figures["rows"][-1]["value"]
    assert figures["value"] >= -2.0
