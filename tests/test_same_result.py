"""The script that compares the demo's result of two commits sees every difference but times."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

STUDIES = Path(__file__).parents[1] / "studies"
WEIGHTS = "explainer/explainer-0123456789ab.safetensors"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(STUDIES)
    return importlib.import_module("same_result")


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Two run folders of the same result."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in ("explainer", "explanation/images"):
        (first / folder).mkdir(parents=True)
    (first / WEIGHTS).write_bytes(b"weights")
    (first / "explanation/images/000000.png").write_bytes(b"pixels")
    (first / "metrics.json").write_text('{"fid_n": 1.5, "validity": [1, 2], "wall_clock_s": 3}')
    (first / "config.json").write_text('{"fit": {"steps": 3}, "date": "today", "commit": "a"}')
    (first / "explainer/losses.jsonl").write_text('{"step": 25, "gan": 0.5, "seconds": 1}\n')
    (first / "report.html").write_text("in 3 seconds")
    shutil.copytree(first, second)
    return first, second


def test_times_do_not_count(study: ModuleType, runs: tuple[Path, Path]) -> None:
    (runs[1] / "metrics.json").write_text('{"fid_n": 1.5, "validity": [1, 2], "wall_clock_s": 4}')
    (runs[1] / "config.json").write_text('{"fit": {"steps": 3}, "date": "later", "commit": "b"}')
    (runs[1] / "explainer/losses.jsonl").write_text('{"step": 25, "gan": 0.5, "seconds": 2}\n')
    (runs[1] / "report.html").write_text("in 4 seconds")
    assert study.differences(*runs) == []


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        (WEIGHTS, "weightz", "explainer/explainer.safetensors: other content"),
        ("explanation/images/000000.png", "", "explanation/images/000000.png: other content"),
        ("config.json", '{"fit": {"steps": 4}}', "config.json: fit: steps: 3 became 4"),
        (
            "metrics.json",
            '{"fid_n": 1.5000000000000002, "validity": [1, 2]}',
            "metrics.json: fid_n: 1.5 became 1.5000000000000002",
        ),
        (
            "metrics.json",
            '{"validity": [1, 2]}',
            'metrics.json: fid_n: 1.5 became "nothing"',
        ),
        ("more.json", "{}", "more.json: only the second run has it"),
    ],
)
def test_all_else_does(
    study: ModuleType, runs: tuple[Path, Path], name: str, content: str, line: str
) -> None:
    (runs[1] / name).write_text(content)
    assert study.differences(*runs) == [line]


def test_losses_count(study: ModuleType, runs: tuple[Path, Path]) -> None:
    (runs[1] / "explainer/losses.jsonl").write_text(json.dumps({"step": 25, "gan": 0.6}) + "\n")
    assert study.differences(*runs)[0].startswith("explainer/losses.jsonl: ")


def test_renamed_weights_with_the_same_content_are_the_same(
    study: ModuleType, runs: tuple[Path, Path]
) -> None:
    (runs[1] / WEIGHTS).rename(runs[1] / WEIGHTS.replace("0123456789ab", "ba9876543210"))
    assert study.differences(*runs) == []


def test_a_missing_file_is_named(study: ModuleType, runs: tuple[Path, Path]) -> None:
    (runs[1] / "metrics.json").unlink()
    assert study.differences(*runs) == ["metrics.json: only the first run has it"]
