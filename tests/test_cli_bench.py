"""ifnormal bench: what it is told reaches the runner; its lists are for people and programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ifnormal.benchmarks.sweep
import tiny_experiments as tiny
from ifnormal.benchmarks.engines.local import run_locally
from ifnormal.benchmarks.engines.process import Share
from ifnormal.benchmarks.experiment import Selection, Workplace
from ifnormal.benchmarks.sweep import Shard, Swept, planned
from ifnormal.benchmarks.sweep_folder import Outcome, remember_plan
from ifnormal.cli import main
from ifnormal.common.storage import write_json


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("IFNORMAL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the runner is called with; nothing is run."""
    calls: list[tuple[Any, ...]] = []

    def sweep(*arguments: Any) -> Swept:
        calls.append(arguments)
        return Swept({"done": 1})

    monkeypatch.setattr(ifnormal.benchmarks.sweep, "sweep", sweep)
    return calls


class TestRun:
    def test_options_reach_the_runner(self, told: list[tuple[Any, ...]], tmp_path: Path) -> None:
        command = (
            "bench run paper --out here --only mnist/* --budget paper --seeds 0,1,2 --detectors "
            "bce,hsc --jobs 3 --threads 2 --index 1 --of 4 --set fit.steps=30 "
            f"fit.weights.score=0.5 detector.flip=horizontal --data-root {tmp_path}"
        )
        assert main(command.split()) == 0
        name, selection, workplace, missing, share, shard, engine, options = told[0]
        assert name == "paper"
        assert selection == Selection("mnist/*", (0, 1, 2), ("bce", "hsc"), "paper")
        assert workplace == Workplace(Path("here"), tmp_path)
        assert "mnist/one-vs-rest/7" in missing
        assert (share, shard) == (Share(3, 2), Shard(1, 4))
        assert engine is run_locally
        assert options == {
            "fit.steps": 30,
            "fit.weights.score": 0.5,
            "detector.flip": "horizontal",
        }

    def test_setups_of_the_experiment_alone_may_lack_data_too(
        self, told: list[tuple[Any, ...]]
    ) -> None:
        assert main(["bench", "planted"]) == 0
        missing = told[0][3]
        assert "gtsrb" in missing["planted/watermark"]
        assert "planted/colour" not in missing

    def test_a_name_alone_is_a_run(
        self, told: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["bench", "paper"]) == 0
        assert told[0][:3] == ("paper", Selection(), Workplace(Path("runs/bench/paper")))
        assert "ifnormal bench table runs/bench/paper" in capsys.readouterr().out

    def test_a_failed_run_is_in_the_exit_code(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        failed = Outcome(planned(tiny.NAME, Selection())[0], "failed", 1.0, "It broke.")
        swept = Swept({"done": 2, "failed": 1}, failed)
        monkeypatch.setattr(ifnormal.benchmarks.sweep, "sweep", lambda *_: swept)
        assert main(["bench", "paper", "--out", "x"]) == 2
        sentence = capsys.readouterr().err
        assert "1 run failed, first a/one bce seed 0 (It broke); x/a-one_bce_default" in sentence
        assert sentence.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ("bench", "Name one of list, run, table, experiments, or an experiment"),
            ("bench papr", "There is no experiment 'papr'; choose one of paper"),
            ("bench paper --seeds one", "--seeds takes whole numbers such as 0,1,2, not 'one'."),
            ("bench paper --seeds ,", "--seeds must name at least one seed."),
            ("bench paper --seeds -1", "seed must lie between"),
            ("bench paper --set fit.steps", "--set takes NAME=VALUE such as fit.steps=300"),
            ("bench paper --only x/*", "has no runs for --only 'x/*'"),
            ("bench paper --jobs 0", "--jobs must be at least 1."),
            ("bench paper --index 2 --of 2", "--index must lie between 0 and 1."),
            ("bench paper --address x:1", "--address needs the engine ray"),
            ("bench paper --engine slurm", "must be one of local, ray, not 'slurm'"),
            ("bench paper --colour", "does not take --colour"),
            ("bench run", "see ifnormal bench --help."),
            ("bench table nowhere", "nowhere is no folder of a sweep"),
            ("bench table . --format pdf", "must be one of md, html, json, not 'pdf'"),
        ],
    )
    def test_mistakes_are_told_in_one_sentence(
        self, arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments.split()) == 2
        told = capsys.readouterr().err
        assert sentence in told
        assert told.startswith("ifnormal: ")
        assert told.count("\n") == 1


class TestList:
    def test_programs_get_every_setup_as_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["bench", "list", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert len(rows) >= 80
        assert {"mnist/one-vs-rest/7", "cmnist/one+cyan", "gtsrb/speed-limits"} <= {
            row["id"] for row in rows
        }
        for row in rows:
            assert {"id", "family", "available", "missing"} <= set(row)
            assert row["available"] == (not row["missing"])

    def test_people_get_a_line_each_and_what_to_do(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["bench", "list", "--only", "mnist/one-vs-rest/*"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "mnist/one-vs-rest/0  needs mnist"
        assert "10 setups, the data of 0 are here." in lines
        assert lines[-1].startswith("mnist: ")


class TestTable:
    def test_goes_to_the_screen_or_a_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "runs" / "bench" / "mine"
        runs = planned(tiny.NAME, Selection())
        remember_plan(out, tiny.NAME, runs, {})
        write_json(out / runs[0].key / "metrics.json", {"figure": 2.5})
        assert main(["bench", "table", "mine"]) == 0, "the usual folder, by its name"
        assert "| a/one | 2.50 (paper 1.50) |" in capsys.readouterr().out
        assert main(["bench", "table", str(out), "--format", "json", "--output", "t.json"]) == 0
        assert json.loads(Path("t.json").read_text())["done"] == 1


def test_experiments_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "experiments"]) == 0
    assert any(line.startswith("paper ") for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("action", [[], ["run"]])
def test_help_loads_no_torch(action: list[str]) -> None:
    code = (
        "import sys; from ifnormal.cli import main; code = main(sys.argv[1:]); "
        "print('torch' in sys.modules, code, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "bench", *action, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr.split() == ["False", "0"]
    assert "usage: ifnormal bench" in done.stdout
