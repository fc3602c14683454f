"""The whole job, in one go and verb by verb; what resuming takes up and beginning anew removes."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ifnormal.jobs.stages
from ifnormal.cli import main
from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.config import DataConfig, DemoConfig
from ifnormal.explanation.explanation import Explanation
from ifnormal.jobs.demo import budgeted, demo
from ifnormal.training.state import TrainingState
from tiny_runs import SMALL, files, shrink, touch

FIGURES = [
    "detector_auroc",
    "normality_auroc",
    "fid_n",
    "fid_extractor",
    "concept_accuracy",
    "concept_accuracy_fresh",
    "truly_normal",
    "minimal_edit",
    "validity",
    "two_reasons",
    "two_ways",
    "mse",
    "wall_clock_s",
    "images_per_s",
]
FILES = [
    "config.json",
    "metrics.json",
    "truth.json",
    "report.html",
    "detector/detector.json",
    "detector/losses.jsonl",
    "explainer/explainer.json",
    "explainer/checkpoint.json",
    "explainer/losses.jsonl",
    "judge/judge.json",
    "explanation/explanation.json",
    "explanation/images/000000_anomaly.png",
    "explanation/images/000000_concept1.png",
    "gradient/explanation.json",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with seed 0; copy it before changing it."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        demo(DemoConfig(out=run, budget="smoke"))
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run, and tiny stages to go on with."""
    shrink(monkeypatch)
    return Path(shutil.copytree(finished, tmp_path / "run"))


def command(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(finite, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, str) or math.isfinite(value)


def weights(run: Path, part: str) -> str:
    digest = read_json(run / part / f"{part}.json")["sha256"]
    assert isinstance(digest, str)
    return digest


class TestAFinishedRun:
    def test_files(self, finished: Path) -> None:
        assert [name for name in FILES if not (finished / name).is_file()] == []
        assert (finished / "report.html").stat().st_size > 10_000

    def test_figures(self, finished: Path) -> None:
        metrics = read_json(finished / "metrics.json")
        assert set(FIGURES) <= set(metrics)
        assert finite(metrics)
        for name in ("validity", "truly_normal", "minimal_edit", "mse"):
            assert len(metrics[name]) == 2, "one figure a concept"
        assert metrics["images_per_s"] > 0

    def test_record(self, finished: Path) -> None:
        record = read_json(finished / "config.json")
        assert (record["seed"], record["fit_seed"], record["budget"]) == (0, 0, "smoke")
        assert record["data"]["drawings"] == 200
        assert record["detector"]["objective"] == "bce"
        assert record["fit"]["weights"]["score"] > 0
        assert record["versions"]["cpu"]
        assert {"commit", "uncommitted_changes", "date", "setup"} <= set(record)
        assert set(record["seconds"]) == {"detector", "fit", "explain", "evaluate"}
        spent = sum(record["seconds"].values())
        # All in: reading images between the stages and the report come on top.
        assert read_json(finished / "metrics.json")["wall_clock_s"] >= round(spent, 1) - 0.1

    def test_verb_by_verb_on_the_same_folder(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = read_json(run / "metrics.json")
        for verb in ("fit", "explain", "evaluate"):
            assert command(verb, "--run", run, *SMALL.get(verb, [])) == 0
        assert not (run / "report.html").exists(), "it told of the figures before"
        assert command("report", run) == 0
        assert [name for name in FILES if not (run / name).is_file()] == []
        after = read_json(run / "metrics.json")
        cost = {"wall_clock_s", "images_per_s"}
        assert {name: after[name] for name in after if name not in cost} == {
            name: before[name] for name in before if name not in cost
        }, "the same seed gives the same figures"
        output = capsys.readouterr()
        assert "two minimal ways" in output.out.lower()
        assert str(run / "report.html") in output.out
        told = [line.partition(":")[0] for line in output.err.splitlines()]
        assert told == ["fit", "explain", "evaluate", "report"], "one plain line a stage"


class TestResume:
    def test_a_finished_run_stays_the_same(self, run: Path) -> None:
        before = [weights(run, part) for part in ("detector", "explainer")]
        modified = (run / "detector" / "detector.json").stat().st_mtime_ns
        speed = read_json(run / "metrics.json")["images_per_s"]
        demo(DemoConfig(out=run, budget="smoke", resume=True))
        assert [weights(run, part) for part in ("detector", "explainer")] == before
        assert (run / "detector" / "detector.json").stat().st_mtime_ns == modified
        assert read_json(run / "metrics.json")["images_per_s"] == speed

    def test_an_interrupted_fit_ends_in_the_same_weights(
        self,
        finished: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        # The finished run is of the embedded digits, whatever data sets lie on this machine.
        monkeypatch.delenv("IFNORMAL_DATA", raising=False)
        shrink(monkeypatch)
        run, save = tmp_path / "a run", TrainingState.save

        def interrupted(state: TrainingState, folder: Path) -> None:
            save(state, folder)
            raise KeyboardInterrupt

        arguments = ["demo", "--out", run, "--budget", "smoke"]
        with monkeypatch.context() as patch:
            patch.setattr(TrainingState, "save", interrupted)
            assert command(*arguments) == 130
        told = capsys.readouterr().err.splitlines()[-1]
        assert "demo --out" in told
        assert "--budget smoke --resume goes on from the last checkpoint." in told
        before = read_json(run / "config.json")["seconds"]
        assert set(before) == {"detector", "fit"}
        assert command(*arguments, "--resume") == 0
        for part in ("detector", "explainer"):
            assert weights(run, part) == weights(finished, part)
        assert read_json(run / "config.json")["seconds"]["fit"] > before["fit"], "both halves"

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"seed": 1}, "seed 0, not 1"),
            ({"budget": "small"}, "budget smoke, not small"),
            ({"objective": "hsc"}, "detector.objective bce, not hsc"),
            ({"concepts": 3}, "fit.concepts 2, not 3"),
        ],
    )
    def test_other_options_are_refused(self, run: Path, options: dict[str, Any], told: str) -> None:
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        with pytest.raises(UserError, match=told):
            demo(DemoConfig(**{"out": run, "budget": "smoke", "resume": True, **options}))
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before

    def test_a_fit_with_another_seed_is_refused(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert command("fit", "--run", run, "--resume", "--seed", 1, *SMALL["fit"]) == 2
        assert "fit_seed 0, not 1" in capsys.readouterr().err

    def test_with_nothing_there_it_begins(self, tmp_path: Path, monkeypatch: Any) -> None:
        begun: list[Path] = []
        monkeypatch.setattr(
            "ifnormal.jobs.demo.train_detector_stage", lambda run, *_: begun.append(run)
        )
        for name in ("fit_stage", "explain_stage", "report_stage"):
            monkeypatch.setattr(f"ifnormal.jobs.demo.{name}", lambda *_, **__: None)
        monkeypatch.setattr("ifnormal.jobs.demo.evaluate_stage", lambda *_: {})
        demo(DemoConfig(out=tmp_path / "new", resume=True))
        assert begun == [tmp_path / "new"]


class TestBeginningAnew:
    def test_nothing_of_an_older_run_leaks(self, run: Path) -> None:
        touch(run, ["notes.txt", "explanation/images/cat.png"])
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        demo(DemoConfig(out=run, budget="smoke", seed=1))
        assert {"notes.txt", "explanation/images/cat.png"} < files(run)
        for name in ("detector/detector.json", "explainer/checkpoint.json", "metrics.json"):
            assert (run / name).read_bytes() != before[run / name]
        old = {path for path in before if path.suffix == ".safetensors" and path.exists()}
        # The judge's seed is no run's; it learns from other images, though.
        assert not {path.parent.name for path in old} & {"detector", "explainer", "explanation"}

    def test_a_new_detector_leaves_nothing_built_on_the_old_one(self, run: Path) -> None:
        touch(run, ["notes.txt"])
        assert command("train-detector", "--run", run, "--seed", 5, *SMALL["train-detector"]) == 0
        left = {name for name in files(run) if not name.startswith("detector/")}
        assert left == {"notes.txt", "config.json"}
        record = read_json(run / "config.json")
        assert record["seed"] == 5
        assert not {"fit", "fit_seed", "budget", "images_per_s"} & set(record)
        assert set(record["seconds"]) == {"detector"}

    def test_data_that_cannot_be_read_cost_no_earlier_run(self, run: Path, tmp_path: Path) -> None:
        before = files(run)
        with pytest.raises(UserError, match="no folder mnist"):
            demo(DemoConfig(out=run, data_root=tmp_path))
        assert files(run) == before


class TestExplain:
    def test_own_images(self, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        picture = run / "explanation" / "images" / "000001_anomaly.png"
        figures = (run / "metrics.json").read_bytes()
        assert command("explain", picture, "--run", run) == 0
        assert "These are 2 counterfactuals of 1 image" in capsys.readouterr().out
        assert len(Explanation.load(run / "own-images")) == 1
        assert command("report", run / "own-images") == 0
        assert (run / "own-images" / "report.html").is_file()
        assert (run / "metrics.json").read_bytes() == figures, "these are of the test anomalies"
        assert command("evaluate", "--run", run) == 0

    def test_out(self, run: Path, tmp_path: Path) -> None:
        pictures, out = tmp_path / "pictures", tmp_path / "photos"
        pictures.mkdir()
        for number in range(3):
            name = f"{number:06}_anomaly.png"
            shutil.copy(run / "explanation" / "images" / name, pictures)
        assert command("explain", pictures, "--run", run, "--all", "--out", out) == 0
        assert len(Explanation.load(out)) == 3

    def test_own_images_do_not_replace_what_is_measured(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        picture = run / "explanation" / "images" / "000001_anomaly.png"
        assert command("explain", picture, "--run", run, "--out", run) == 2
        assert "name another folder with --out" in capsys.readouterr().err

    def test_only_the_test_anomalies_are_measured(
        self, run: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        picture = run / "explanation" / "images" / "000001_anomaly.png"
        assert command("explain", picture, "--run", run) == 0
        shutil.rmtree(run / "explanation")
        shutil.copytree(run / "own-images", run / "explanation")
        assert command("evaluate", "--run", run) == 2
        assert "run ifnormal explain" in capsys.readouterr().err


def spoil_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


class TestDamage:
    @pytest.mark.parametrize("verb", ["fit", "explain", "evaluate"])
    @pytest.mark.parametrize(
        ("name", "spoil"),
        [
            ("config.json", lambda path: path.write_text("{")),
            ("config.json", lambda path: spoil_json(path, lambda c: c.pop("data"))),
            ("config.json", lambda path: spoil_json(path, lambda c: c["data"].update(hue=1))),
            ("config.json", lambda path: path.unlink()),
            ("detector/detector.json", lambda path: path.unlink()),
            ("detector/detector.json", lambda path: path.write_bytes(b"\xff\x00")),
            ("detector/detector.json", lambda path: spoil_json(path, lambda c: c.pop("config"))),
            (
                "detector/detector.json",
                lambda path: spoil_json(path, lambda c: c["config"].update(width=9)),
            ),
        ],
    )
    def test_is_named(
        self,
        run: Path,
        verb: str,
        name: str,
        spoil: Callable[[Path], None],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        spoil(run / name)
        assert command(verb, "--run", run, *SMALL.get(verb, [])) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert str(run) in told
        assert Path(name).name in told or "train-detector" in told

    @pytest.mark.parametrize(
        ("verb", "name"),
        [
            ("explain", "explainer/explainer.json"),
            ("evaluate", "explanation/explanation.json"),
            ("evaluate", "judge/judge.json"),
            ("report", "explanation/explanation.json"),
        ],
    )
    @pytest.mark.parametrize("content", [None, "[]", "{}"])
    def test_of_later_parts_is_named(
        self,
        run: Path,
        verb: str,
        name: str,
        content: str | None,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        if content is None and name.startswith("judge"):
            pytest.skip("a judge that is not there is trained")
        if content is None:
            (run / name).unlink()
        else:
            (run / name).write_text(content)
        assert command(verb, *([run] if verb == "report" else ["--run", run])) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert name.split("/")[0] in told

    @pytest.mark.parametrize("part", ["detector", "explainer"])
    def test_damaged_weights_are_named(
        self, run: Path, part: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = next((run / part).glob(f"{part}-*.safetensors"))
        path.write_bytes(path.read_bytes()[:-1] + b"\x01\x02")
        assert command("explain", "--run", run) == 2
        assert f"{path.name} is damaged" in capsys.readouterr().err


class TestTheSameImagesLater:
    def config(self, run: Path, root: Path | None) -> None:
        update = {"data_root": None if root is None else str(root)}
        spoil_json(run / "config.json", lambda content: content["data"].update(update))

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[DataConfig]:
        asked: list[DataConfig] = []
        monkeypatch.setattr(
            ifnormal.jobs.stages, "load_setup", lambda data, seed: asked.append(data)
        )
        return asked

    def test_embedded_digits_stay_embedded(
        self, run: Path, asked: list[DataConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IFNORMAL_DATA", str(tmp_path))
        ifnormal.jobs.stages._setup(run)
        assert asked[0].data_root is None

    def test_a_data_root_is_remembered(
        self, run: Path, asked: list[DataConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IFNORMAL_DATA", "elsewhere")
        self.config(run, tmp_path)
        ifnormal.jobs.stages._setup(run)
        assert asked[0].data_root == tmp_path

    def test_a_data_root_that_moved_is_found_by_the_variable(
        self, run: Path, asked: list[DataConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IFNORMAL_DATA", str(tmp_path))
        self.config(run, tmp_path / "gone")
        ifnormal.jobs.stages._setup(run)
        assert asked[0].data_root == tmp_path


def test_budgets_grow() -> None:
    budgets = ("smoke", "small", "paper")
    steps = [[part.steps for part in budgeted(DemoConfig(budget=name))[1:]] for name in budgets]
    assert steps == sorted(steps)
    assert steps[0][1] < steps[1][1] < steps[2][1]


@pytest.mark.slow
def test_smoke(tmp_path: Path) -> None:
    """As a newcomer meets it, with nothing made smaller; 90 s on two free cores."""
    command = [sys.executable, "-m", "ifnormal", "demo", "--budget", "smoke", "--out", "demo"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=1800)
    assert [name for name in FILES if not (tmp_path / "demo" / name).is_file()] == []
    assert finite(read_json(tmp_path / "demo" / "metrics.json"))
