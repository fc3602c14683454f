"""The sweep runner: each run once, whoever else works in the folder; failures are told."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import pytest
from filelock import FileLock

import tiny_experiments as tiny
from ifnormal.benchmarks.attempt import attempt
from ifnormal.benchmarks.engines import local
from ifnormal.benchmarks.engines.process import Share, Started, share_cores
from ifnormal.benchmarks.experiment import BenchRun, Selection, Workplace
from ifnormal.benchmarks.experiments import EXPERIMENTS, experiment_named
from ifnormal.benchmarks.options import spelled_out
from ifnormal.benchmarks.sweep import Shard, Swept, planned, sweep
from ifnormal.benchmarks.sweep_folder import LOCKS, Outcome, read_plan, remember_plan
from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.config import FitConfig

BOTH = Selection(seeds=(0, 1))


def here(
    runs: Sequence[BenchRun],
    workplace: Workplace,
    share: Share,
    begun: Callable[[BenchRun], None],
    ended: Callable[[Outcome], None],
) -> None:
    """An engine without processes."""
    for run in runs:
        begun(run)
        ended(attempt(run, workplace))


def swept(out: Path, selection: Selection = BOTH, **options: object) -> Swept:
    missing = options.pop("missing", {})
    return sweep(
        tiny.NAME,
        selection,
        Workplace(out),
        missing,  # type: ignore[arg-type]
        Share(1, 1),
        engine=here,
        **options,  # type: ignore[arg-type]
    )


def performed(out: Path) -> Counter[str]:
    return Counter(line["key"] for line in tiny.lines(out / tiny.PERFORMED))


class TestSweep:
    def test_every_run_is_done_once_and_skipped_afterwards(self, tmp_path: Path) -> None:
        keys = [run.key for run in planned(tiny.NAME, BOTH)]
        assert dict(swept(tmp_path).counts) == {"was done": 0, "done": 8}
        assert dict(swept(tmp_path).counts) == {"was done": 8}
        assert performed(tmp_path) == Counter(keys)
        for key in keys:
            assert read_json(tmp_path / key / "metrics.json")["figure"] > 5
            config = read_json(tmp_path / key / "config.json")
            assert config["versions"]["torch"]
            assert config["machine"]["cores"] >= 1
            assert BenchRun(**config["run"]).key == key

    def test_a_larger_selection_does_only_what_is_new(self, tmp_path: Path) -> None:
        swept(tmp_path, Selection(seeds=(1,)))
        assert dict(swept(tmp_path).counts) == {"was done": 4, "done": 4}
        assert set(performed(tmp_path).values()) == {1}
        assert len(read_plan(tmp_path).runs) == 8

    def test_shards_share_out_all_runs(self, tmp_path: Path) -> None:
        counts = [swept(tmp_path, shard=Shard(index, 3)).counts["done"] for index in range(3)]
        assert counts == [3, 3, 2]
        assert set(performed(tmp_path).values()) == {1}
        assert len(performed(tmp_path)) == 8

    def test_setups_without_data_are_skipped_and_stay_in_the_plan(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert swept(tmp_path, missing={"b/two": "b: get it", "c": "x"}).counts["done"] == 6
        assert "1 setup is skipped for want of data (b/two)" in capsys.readouterr().err
        plan = read_plan(tmp_path)
        assert dict(plan.skipped) == {"b/two": "b: get it"}
        assert len(plan.runs) == 8
        swept(tmp_path)
        assert not read_plan(tmp_path).skipped, "its data have come"

    def test_options_make_other_runs(self, tmp_path: Path) -> None:
        swept(tmp_path)
        assert swept(tmp_path, options={"sleep": 0.0}).counts["done"] == 8
        run, changed = planned(tiny.NAME, BOTH)[0], planned(tiny.NAME, BOTH, {"sleep": 0.0})[0]
        assert changed.key != run.key
        assert changed.variant == run.variant, "what an experiment asks of its variants stays so"
        assert str(changed) == "a/one bce sleep=0.0 seed 0"

    def test_one_folder_is_of_one_experiment(self, tmp_path: Path) -> None:
        swept(tmp_path)
        with pytest.raises(UserError, match=r"holds runs of the experiment tiny.*--out"):
            sweep(tiny.COLORED_NAME, BOTH, Workplace(tmp_path), {}, Share(1, 1), engine=here)

    def test_progress_is_a_line_a_run(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        swept(tmp_path, Selection(only="a/one"))
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "1 run to do, 0 done before."
        told = r"\[1/1\] a/one bce seed 0: done in \d+ s, figure 5\.5"
        assert re.match(told, lines[1])
        assert len(lines) == 2


class TestFailure:
    def test_is_told_and_the_sweep_goes_on(self, tmp_path: Path) -> None:
        (tmp_path / tiny.BROKEN).touch()
        result = swept(tmp_path)
        assert result.counts["failed"] == 2
        assert result.counts["done"] == 6
        assert result.first_failure is not None
        folder = tmp_path / result.first_failure.run.key
        sentence = read_json(folder / "failure.json")["sentence"]
        assert sentence == "RuntimeError: the detector is out of order"
        assert "in perform" in (folder / "traceback.txt").read_text()
        assert not (folder / "metrics.json").exists()

    def test_is_forgotten_once_the_run_is_done(self, tmp_path: Path) -> None:
        (tmp_path / tiny.BROKEN).touch()
        swept(tmp_path, Selection(only="a/two"))
        (tmp_path / tiny.BROKEN).unlink()
        assert swept(tmp_path, Selection(only="a/two")).counts["done"] == 1
        assert not list(tmp_path.glob("*/failure.json"))
        states = [line["state"] for line in tiny.lines(tmp_path / "attempts.jsonl")]
        assert states == ["failed", "done"]

    def test_figures_that_are_no_numbers_are_none(self, tmp_path: Path) -> None:
        result = swept(tmp_path, Selection(only="b/one"), options={"nan": "b/one"})
        assert result.counts["failed"] == 1
        assert not list(tmp_path.glob("*/metrics.json"))


class TestAttempt:
    def test_a_run_that_another_runner_has_is_left_to_it(self, tmp_path: Path) -> None:
        run = planned(tiny.NAME, BOTH)[0]
        (tmp_path / LOCKS).mkdir()
        with FileLock(tmp_path / LOCKS / f"{run.key}.lock"):
            assert attempt(run, Workplace(tmp_path)).state == "elsewhere"
        assert not performed(tmp_path)
        assert attempt(run, Workplace(tmp_path)).state == "done"
        assert attempt(run, Workplace(tmp_path)).state == "was done"

    def test_many_at_once_do_it_once(self, tmp_path: Path) -> None:
        run = planned(tiny.NAME, BOTH, {"sleep": 0.1})[0]
        states: list[str] = []

        def work() -> None:
            states.append(attempt(run, Workplace(tmp_path), wait=30).state)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(states) == ["done", "was done", "was done", "was done"]
        assert performed(tmp_path) == {run.key: 1}


class TestLocalEngine:
    @pytest.mark.parametrize("jobs", [1, 3])
    def test_keeps_to_its_jobs_and_threads(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
    ) -> None:
        guard, now, most, seen = threading.Lock(), 0, 0, set()
        full = threading.Event()

        def fake(run: BenchRun, workplace: Workplace, threads: int, started: object) -> Outcome:
            nonlocal now, most
            with guard:
                now += 1
                most = max(most, now)
                seen.add(threads)
                if now == jobs:
                    full.set()
            full.wait(5)
            with guard:
                now -= 1
            return Outcome(run, "done", 1.0)

        monkeypatch.setattr(local, "run_in_process", fake)
        begun: list[str] = []
        ended: list[str] = []
        runs = planned(tiny.NAME, BOTH)
        local.run_locally(
            runs,
            Workplace(tmp_path),
            Share(jobs, 5),
            lambda run: begun.append(run.key),
            lambda outcome: ended.append(outcome.run.key),
        )
        assert begun == [run.key for run in runs]
        assert sorted(ended) == sorted(begun)
        assert (most, seen) == (jobs, {5})

    def test_an_interruption_ends_the_processes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        processes: list[subprocess.Popen[str]] = []
        flying = threading.Event()

        def fake(run: BenchRun, workplace: Workplace, threads: int, started: Started) -> Outcome:
            if run.setup == "a/one":
                flying.wait(5)
                return Outcome(run, "done", 1.0)
            process = subprocess.Popen(["sleep", "60"], text=True)
            processes.append(process)
            started(process)
            flying.set()
            return Outcome(run, "stopped", process.wait())

        def interrupt(outcome: Outcome) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(local, "run_in_process", fake)
        with pytest.raises(KeyboardInterrupt):
            local.run_locally(
                planned(tiny.NAME, BOTH),
                Workplace(tmp_path),
                Share(2, 1),
                lambda run: None,
                interrupt,
            )
        assert [process.poll() for process in processes] == [-15]


class TestSelection:
    def test_plans_are_deterministic_and_without_twins(self) -> None:
        for name in EXPERIMENTS:
            runs = planned(name, BOTH)
            assert runs == planned(name, BOTH)
            assert len({run.key for run in runs}) == len(runs)
            assert json.dumps([run.options for run in runs]), "options must be JSON"

    def test_mistakes_are_told(self) -> None:
        with pytest.raises(UserError, match="no experiment 'papr'; choose one of paper"):
            experiment_named("papr")
        with pytest.raises(UserError, match="cannot be imported"):
            experiment_named("nowhere.at_all:EXPERIMENT")
        with pytest.raises(UserError, match="is a tuple, no Experiment"):
            experiment_named("tiny_experiments:SETUPS")
        with pytest.raises(UserError, match="no runs for --only 'nothing'"):
            planned("paper", Selection(only="nothing"))
        with pytest.raises(UserError, match="--index must lie between 0 and 2"):
            Shard(3, 3)

    def test_the_paper_has_every_setup_with_three_detectors(self) -> None:
        runs = planned("paper", Selection(only="mnist/one-vs-rest/*", seeds=(0, 1)))
        assert len(runs) == 10 * 3 * 2
        assert len(planned("paper", Selection())) >= 80 * 3


@pytest.mark.parametrize(
    ("jobs", "threads", "cores", "share"),
    [
        (None, None, 8, Share(4, 2)),
        (None, None, 1, Share(1, 1)),
        (3, None, 8, Share(3, 2)),
        (None, 3, 8, Share(2, 3)),
        (None, 16, 8, Share(1, 16)),
        (16, None, 8, Share(16, 1)),
        (2, 7, 8, Share(2, 7)),
    ],
)
def test_cores_are_shared_out(
    jobs: int | None, threads: int | None, cores: int, share: Share
) -> None:
    assert share_cores(jobs, threads, cores) == share


def test_a_card_with_another_budget_makes_other_runs_in_the_place_of_the_old(tmp_path):
    run = spelled_out(BenchRun("paper", "mnist/one-vs-rest/7", "bce", 0))
    assert run.options["fit.steps"] > 0
    longer = replace(run, options={**run.options, "fit.steps": run.options["fit.steps"] + 1})
    other = BenchRun("paper", "mnist/one-vs-rest/8", "bce", 0)
    assert run.key != longer.key
    remember_plan(tmp_path, "paper", [run, other], {})
    remember_plan(tmp_path, "paper", [longer], {})
    assert read_plan(tmp_path).runs == (longer, other)


def test_a_runs_own_options_go_before_its_budget():
    own = BenchRun("paper", "mnist/one-vs-rest/7", "bce", 0, options={"fit.steps": 3})
    assert spelled_out(own).options["fit.steps"] == 3


def test_a_card_with_other_classes_makes_other_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = (
        "family: fruit\ntitle: Fruit\nbuilder: classes\nsource: cifar10\nsize: 32\nchannels: 3\n"
        "exposure: {{use: all, of: [synthetic]}}\n"
        "setups:\n  - {{id: citrus, group: single, normal: citrus, each: [[{}]]}}\n"
    )
    runs = []
    for folder, classes in (("a", "cat"), ("b", "dog"), ("c", "cat")):
        monkeypatch.setenv("IFNORMAL_CARDS", str(tmp_path / folder))
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "fruit.yaml").write_text(card.format(classes))
        runs.append(spelled_out(BenchRun("paper", "fruit/citrus", "bce", 0)))
    assert runs[0].options == runs[1].options
    assert runs[0].key != runs[1].key
    assert runs[0].key == runs[2].key, "where a card lies does not matter"


def test_another_default_makes_other_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    run = BenchRun("paper", "mnist/one-vs-rest/7", "bce", 0)
    before = spelled_out(run).key
    assert spelled_out(run).key == before
    monkeypatch.setattr(FitConfig, "__init__", partialmethod(FitConfig.__init__, batch_size=7))
    assert spelled_out(run).key != before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fit.steps": "abc"}, "The option steps takes such as"),
        ({"fit.steps": None}, "The option steps takes such as"),
        ({"fit.steps": 1.5}, "The option steps takes such as"),
        ({"fit.steps": True}, "The option steps takes such as"),
        ({"fit.weights": 3}, "The option weights has options of its own"),
        ({"judge_steps": "x"}, "The option judge_steps takes such as"),
        ({"data.setup": "mnist/one-vs-rest/1"}, "cannot change data.setup.*use --only"),
        ({"detector.objective": "hsc"}, "cannot change detector.objective.*use --detectors"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_runs(
    options: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        planned("paper", Selection(only="mnist/one-vs-rest/7", detectors=("bce",)), options)


def test_detectors_and_options_are_known() -> None:
    with pytest.raises(UserError, match="no detector 'foo'; --detectors takes bce, hsc"):
        planned("paper", Selection(only="mnist/one-vs-rest/7", detectors=("foo",)))
    with pytest.raises(UserError, match="no option 'nope'"):
        planned("planted", Selection(only="planted/colour"), {"fit.nope": 1})
    whole = {"fit.learning_rate": 1, "fit.weights.score": 2, "fit.precision": "32-true"}
    assert planned("paper", Selection(only="mnist/one-vs-rest/7"), whole)


def test_experiments_of_one_setup_are_not_run_for_another() -> None:
    for name, selection in (
        ("bias", Selection(only="gtsrb/*")),
        ("sensitivity", Selection(only="gtsrb/*")),
        ("bias", Selection(detectors=("hsc",))),
        ("theory", Selection(detectors=("hsc",))),
    ):
        with pytest.raises(UserError, match="no runs for --"):
            planned(name, selection)
