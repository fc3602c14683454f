from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ifnormal.errors import UserError
from ifnormal.explanation import Explanation
from ifnormal.report.curves import POINTS, WIDTH, make_curves
from ifnormal.report.making import make_groups
from ifnormal.report.run import read_run


@pytest.fixture
def run(tmp_path: Path, tiny_explanation: Explanation) -> Path:
    tiny_explanation.save(tmp_path / "explanation")
    return tmp_path


def test_what_is_missing_is_empty(run: Path) -> None:
    read = read_run(run)
    assert (read.truth, read.gradient, read.gradient_truth) == (None, None, None)
    assert (read.metrics, read.config, read.losses) == ({}, {}, {})


@pytest.mark.parametrize(
    "truth",
    [
        {"is_normal": [[True, True]] * 2},
        {"is_normal": [[True]] * 3},
        {"is_normal": [[True, True]] * 3, "verdicts": [["one"]] * 3},
        {"is_normal": "yes"},
    ],
)
def test_a_truth_of_another_explanation_is_refused(run: Path, truth: object) -> None:
    (run / "truth.json").write_text(json.dumps(truth))
    with pytest.raises(UserError, match=r"truth\.json.*judge that explanation again"):
        read_run(run)


def test_verdicts_are_optional(run: Path) -> None:
    (run / "truth.json").write_text(json.dumps({"is_normal": [[1, 0]] * 3}))
    truth = read_run(run).truth
    assert truth is not None
    assert truth.is_normal == [[True, False]] * 3
    assert truth.verdicts == [["", ""]] * 3


def test_an_explanation_of_nothing_is_refused(
    tmp_path: Path, make_explanation: Callable[..., Explanation]
) -> None:
    make_explanation(n=0, m=0).save(tmp_path / "explanation")
    with pytest.raises(UserError, match="explains no anomaly"):
        read_run(tmp_path)


def test_half_a_last_line_is_dropped_but_a_damaged_line_is_named(run: Path) -> None:
    path = run / "detector" / "losses.jsonl"
    path.parent.mkdir()
    path.write_text('{"step": 0, "loss": 1}\n{"step": 1, "lo')
    assert read_run(run).losses == {"Detector": [{"step": 0, "loss": 1}]}
    path.write_text('{"step": 0, "loss": 1}\n[1]\n')
    with pytest.raises(UserError, match=r"losses\.jsonl, line 2"):
        read_run(run)


def test_curves_are_thinned_and_keep_their_extremes() -> None:
    rows = [{"step": i, "loss": 1.0} for i in range(5000)]
    rows[2500]["loss"] = 9.0
    (curve,) = make_curves(rows)
    points = [tuple(map(float, point.split(","))) for point in curve.line.split()]
    assert len(points) <= POINTS
    assert all(0 <= x <= WIDTH for x, _ in points)
    assert (curve.low, curve.high, curve.steps) == ("1", "9", 4999)
    tops = [float(point.split(",")[1]) for point in curve.band.split()]
    assert min(tops) < min(y for _, y in points)


def test_curves_skip_what_is_no_number() -> None:
    rows = [
        {"step": 0, "loss": float("nan"), "note": "warm-up"},
        {"step": 1, "loss": 2.0, "once": 3.0},
        {"step": 2, "loss": 2.0, "flag": True},
        {"loss": None},
    ]
    (curve,) = make_curves(rows)
    assert (curve.term, curve.first, curve.last) == ("loss", "2", "2")
    assert "nan" not in curve.line


def test_options_are_grouped_and_nested_ones_named_by_their_path() -> None:
    config = {
        "seed": 0,
        "fast": True,
        "model": {"width": 8, "adam": {"betas": [0.5, 0.9]}},
        "x": {},
    }
    run, model = make_groups(config)
    assert (run.title, run.lines) == ("Run", [("seed", "0"), ("fast", "yes")])
    assert (model.title, model.lines) == (
        "Model",
        [("width", "8"), ("adam · betas", "0.5, 0.9")],
    )
