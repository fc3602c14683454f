from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explanation_folders import random_explanation, write_explanation
from ifnormal.common.errors import UserError
from ifnormal.common.json_reading import json_events
from ifnormal.explanation.explanation import Explanation
from ifnormal.report import write_report
from ifnormal.report.curves import POINTS, WIDTH, make_curves
from ifnormal.report.listing import read_listing
from ifnormal.report.provenance import make_groups
from ifnormal.report.reading import read_run
from ifnormal.report.truth import Judged, Truth


@pytest.fixture
def run(tmp_path: Path, tiny_explanation: Explanation) -> Path:
    tiny_explanation.save(tmp_path / "explanation")
    return tmp_path


def test_what_is_missing_is_empty(run: Path) -> None:
    read = read_run(run)
    assert read.gradient is None
    assert read.explanation.truth == Truth()
    assert read.explanation.truth.of(0, 1) is None
    assert read.explanation.truth.normal_share is None
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
    truth = read_run(run).explanation.truth
    assert truth.rows == [[Judged(True, ""), Judged(False, "")]] * 3
    assert truth.normal_share == 0.5


def test_a_folder_with_nothing_but_an_explanation_is_read(tmp_path: Path) -> None:
    random_explanation(tmp_path, scores=[0.9, 0.2, 0.8])
    (tmp_path / "metrics.json").write_text("{}")
    listing = read_run(tmp_path).explanation
    assert (listing.counts.images, listing.counts.flagged, listing.counts.explained) == (3, 2, 2)
    assert [(entry.number, entry.row) for entry in listing.explained] == [(1, 0), (3, 1)]
    assert [(entry.number, entry.row) for entry in listing.others] == [(2, None)]


def test_verdicts_belong_to_explained_images_only(tmp_path: Path) -> None:
    random_explanation(tmp_path / "explanation", scores=[0.2, 0.9, 0.8])
    verdicts = [["first", "second"], ["third", "fourth"]]
    truth = {"is_normal": [[True, False], [False, True]], "verdicts": verdicts}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    run = read_run(tmp_path)
    judged = run.explanation.truth
    found = [judged.of(entry.row, 1) for entry in run.explanation.explained]
    assert found == [Judged(False, "second"), Judged(True, "fourth")]
    assert judged.of(run.explanation.others[0].row, 1) is None


def test_only_the_most_anomalous_are_kept_however_many_there_are(tmp_path: Path) -> None:
    n = 400
    scores = [(i * 37 % n) / n for i in range(n)]
    pixels = np.zeros((n, 1, 1, 3), np.uint8)
    write_explanation(tmp_path, pixels, pixels[:, None], scores, [[0.1]] * n, threshold=0.5)
    listing = read_listing(tmp_path, shown=3)
    assert [entry.image.own_score for entry in listing.explained] == [399 / n, 398 / n, 397 / n]
    assert [entry.image.own_score for entry in listing.others] == [200 / n, 199 / n, 198 / n]


def test_each_entry_of_the_document_is_read_once(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(path: Path, streamed: Sequence[str]) -> Iterator[tuple[str, int | None, Any]]:
        for key, number, value in json_events(path, streamed):
            read.extend([f"{key} {number}"] if number is not None and number >= 0 else [])
            yield key, number, value

    monkeypatch.setattr("ifnormal.explanation.document.json_events", counted)
    write_report(run)
    assert read == ["images 0", "images 1", "images 2"]


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
