"""Engines: the same figures in a process, on Ray and in a test; the death of a worker or a node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ifnormal
import tiny_experiments as tiny
from ifnormal.benchmarks.attempt import attempt
from ifnormal.benchmarks.engines import ray as ray_engine
from ifnormal.benchmarks.engines.local import run_locally
from ifnormal.benchmarks.engines.process import Share, run_in_process
from ifnormal.benchmarks.engines.ray import on_ray
from ifnormal.benchmarks.experiment import BenchRun, Selection, Workplace
from ifnormal.benchmarks.sweep import Engine, planned, sweep
from ifnormal.benchmarks.sweep_folder import LOCKS, Outcome
from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json, write_atomic

BOTH = Selection(seeds=(0, 1))
_PATIENCE = 300.0
# What depends on the hour and on who else is at work.
_COST = ("seconds", "wall_clock_s", "cpu_s", "images_per_s")


@pytest.fixture(autouse=True)
def _workers_find_the_experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of a Ray node, which would else have another ifnormal, if one is installed."""
    folders = (Path(__file__).parent, Path(ifnormal.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))


def figures(out: Path, runs: list[BenchRun]) -> dict[str, dict[str, Any]]:
    """Figures of the runs, without their cost."""
    found = {run.key: read_json(out / run.key / "metrics.json") for run in runs}
    return {
        key: {name: value for name, value in metrics.items() if name not in _COST}
        for key, metrics in found.items()
    }


def require_same(one: Path, other: Path, runs: list[BenchRun]) -> None:
    """Says which figure differs, where one does."""
    here, there = figures(one, runs), figures(other, runs)
    for key, metrics in here.items():
        assert metrics.keys() == there[key].keys()
        differing = {n: (v, there[key][n]) for n, v in metrics.items() if v != there[key][n]}
        assert not differing, key


def wait_for(what: Any, patience: float = _PATIENCE) -> None:
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < patience
        time.sleep(0.05)


def lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


@pytest.mark.slow
class TestProcess:
    def test_does_a_run_with_its_threads(self, tmp_path: Path) -> None:
        run = planned(tiny.NAME, BOTH)[0]
        outcome = run_in_process(run, Workplace(tmp_path / "process"), threads=2)
        assert outcome.state == "done"
        attempt(run, Workplace(tmp_path / "here"))
        there = read_json(tmp_path / "process" / run.key / "metrics.json")
        assert there["figure"] == read_json(tmp_path / "here" / run.key / "metrics.json")["figure"]
        assert there["threads"] == 2

    def test_a_killed_worker_is_a_failed_run(self, tmp_path: Path) -> None:
        run = planned(tiny.NAME, BOTH, {"die": "a/one"})[0]
        outcome = run_in_process(run, Workplace(tmp_path), threads=1)
        assert outcome.state == "failed"
        assert "ended by the signal SIGKILL, perhaps for want of memory" in outcome.sentence
        assert read_json(tmp_path / run.key / "failure.json")["sentence"] == outcome.sentence

    @pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked for in /proc")
    def test_workers_end_with_their_runner(self, tmp_path: Path) -> None:
        code = (
            "from pathlib import Path; import tiny_experiments as tiny\n"
            "from ifnormal.benchmarks.sweep import sweep\n"
            "from ifnormal.benchmarks.engines.process import Share\n"
            "from ifnormal.benchmarks.experiment import Selection, Workplace\n"
            f"sweep(tiny.NAME, Selection(), Workplace(Path({str(tmp_path)!r})), {{}}, Share(1, 1),"
            " options={'sleep': 600.0})"
        )
        runner = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        wait_for(lambda: tiny.lines(tmp_path / "begun.jsonl"))
        (begun,) = tiny.lines(tmp_path / "begun.jsonl")
        assert lives(begun["pid"])
        runner.kill()
        runner.wait()
        wait_for(lambda: not lives(begun["pid"]))
        assert not list(tmp_path.glob("*/metrics.json"))


@pytest.mark.slow
def test_a_whole_run_goes_on_where_its_worker_was_killed(tmp_path: Path) -> None:
    selection = Selection()
    (run,) = planned(tiny.COLORED_NAME, selection)
    outcome = run_in_process(run, Workplace(tmp_path / "whole"), 1)
    assert outcome.state == "done", outcome.sentence

    def kill(process: subprocess.Popen[str]) -> None:
        def watch() -> None:
            wait_for((tmp_path / "broken" / run.key / "explainer" / "checkpoint.json").exists)
            process.kill()

        threading.Thread(target=watch).start()

    assert run_in_process(run, Workplace(tmp_path / "broken"), 1, started=kill).state == "failed"
    assert run_in_process(run, Workplace(tmp_path / "broken"), 1).state == "done"
    require_same(tmp_path / "broken", tmp_path / "whole", [run])
    folder = tmp_path / "broken" / run.key
    for name in ("preview.png", "report.html", "explanation/explanation.json", "truth.json"):
        assert (folder / name).exists()
    assert not (folder / "failure.json").exists()
    measured = read_json(folder / "metrics.json")["anomalies"]
    assert measured > 24
    sentence = f"{measured} anomalies were explained, each with two counterfactuals; all are "
    assert (
        f"{sentence}measured, and the first 24 are shown." in (folder / "report.html").read_text()
    )


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes with a processor each, on this machine."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=40)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def performed(out: Path) -> Counter[str]:
    return Counter(line["key"] for line in tiny.lines(out / tiny.PERFORMED))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
class TestRay:
    def sweep(self, out: Path, engine: Engine) -> dict[str, int]:
        place = Workplace(out)
        return dict(sweep(tiny.NAME, Selection(), place, {}, Share(1, 1), engine=engine).counts)

    def test_a_node_dies_and_every_run_is_done_once(self, cluster: Any, tmp_path: Path) -> None:
        runs, out = planned(tiny.NAME, Selection()), tmp_path / "ray"
        (node,) = cluster.worker_nodes
        raylet = str(node.all_processes["raylet"][0].process.pid)
        out.mkdir()
        (out / tiny.DOOMED).write_text(raylet)

        def begun_there() -> list[dict[str, Any]]:
            return [one for one in tiny.lines(out / "begun.jsonl") if one["raylet"] == raylet]

        def kill() -> None:
            wait_for(begun_there)
            cluster.remove_node(node, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        assert self.sweep(out, on_ray(None)) == {"was done": 0, "done": len(runs)}
        killer.join()
        (lost,) = begun_there()
        begun = Counter(line["key"] for line in tiny.lines(out / "begun.jsonl"))
        assert begun == Counter([lost["key"], *(run.key for run in runs)]), "one began anew"
        assert performed(out) == Counter(run.key for run in runs)
        states = [line["state"] for line in tiny.lines(out / "attempts.jsonl")]
        assert states == ["done"] * len(runs)
        wait_for(lambda: not lives(lost["pid"]))
        local = tmp_path / "local"
        self.sweep(local, run_locally)
        require_same(out, local, runs)
        assert self.sweep(out, on_ray(None)) == {"was done": len(runs)}

    def test_a_whole_run_has_the_same_figures(self, cluster: Any, tmp_path: Path) -> None:
        (run,) = planned(tiny.COLORED_NAME, Selection())
        engines: dict[str, Engine] = {"ray": on_ray(None), "local": run_locally}
        for name, engine in engines.items():
            place = Workplace(tmp_path / name)
            swept = sweep(tiny.COLORED_NAME, Selection(), place, {}, Share(1, 1), engine=engine)
            assert swept.counts["done"] == 1, swept.first_failure
        require_same(tmp_path / "ray", tmp_path / "local", [run])

    def test_results_come_back_from_nodes_that_share_no_folder(
        self, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The task is told of another folder than the driver's."""
        driver, node = tmp_path / "driver", tmp_path / "node"
        elsewhere = planned(tiny.NAME, Selection(only="a/one"))
        moved: list[Any] = []
        original = ray_engine._places

        monkeypatch.setattr(ray_engine, "_places", lambda w: {**original(w), "out": str(node)})
        ray_engine.run_on_ray(
            elsewhere, Workplace(driver), Share(1, 1), lambda run: None, moved.append
        )
        (outcome,) = moved
        assert outcome.state == "done"
        key = elsewhere[0].key
        for name in ("metrics.json", "preview.png", "config.json"):
            assert (driver / key / name).read_bytes() == (node / key / name).read_bytes()


class _Immediate:
    """Ray's functions in this process: tasks are done when they are asked for."""

    def __init__(self, *nodes: dict[str, float]) -> None:
        self.exceptions = SimpleNamespace(RayError=RuntimeError)
        self.asked: dict[str, Any] = {}
        self._nodes = [{"Resources": node} for node in nodes]

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        return self._nodes

    def remote(self, **asked: Any) -> Any:
        self.asked = asked
        return lambda task: SimpleNamespace(remote=lambda *what: _Reference(task(*what)))

    def wait(self, references: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return references[:num_returns], references[num_returns:]

    def get(self, reference: _Reference) -> Any:
        return reference.value


class _Reference:
    def __init__(self, value: Any) -> None:
        self.value = value


class TestTasks:
    @pytest.fixture
    def runs_elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Runs are done at once, in another folder than the driver's; returns that folder."""
        node = tmp_path / "node"

        def run_in_process(run: BenchRun, workplace: Workplace, *_: Any, **__: Any) -> Outcome:
            folder = workplace.out / run.key
            for name in ("metrics.json", "log.txt", "heatmaps.png", "least/explanation/a.png"):
                write_atomic(folder / name, "{}")
            write_atomic(folder / "explainer" / "explainer-1.safetensors", "weights")
            return Outcome(run, "done", 1.0)

        monkeypatch.setattr(ray_engine, "run_in_process", run_in_process)
        monkeypatch.setattr(
            ray_engine, "_places", lambda workplace: {"out": str(node), "data_root": None}
        )
        return node

    def do(self, ray: _Immediate, out: Path, monkeypatch: pytest.MonkeyPatch) -> BenchRun:
        monkeypatch.setattr(ray_engine, "_package", lambda: ray)
        (run,) = tiny.plan(Selection(only="a/one"))
        place = Workplace(out)
        ray_engine.run_on_ray([run], place, Share(1, 2), lambda run: None, lambda outcome: None)
        return run

    def test_all_but_weights_come_back(
        self, runs_elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = self.do(_Immediate({"CPU": 4}), tmp_path / "driver", monkeypatch)
        folder = tmp_path / "driver" / run.key
        brought = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}
        assert brought == {"metrics.json", "log.txt", "heatmaps.png", "least/explanation/a.png"}
        assert (runs_elsewhere / run.key / "explainer" / "explainer-1.safetensors").exists()

    def test_tasks_ask_for_what_the_cluster_has_and_know_where_cards_are(
        self, runs_elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("IFNORMAL_CARDS", "cards")
        monkeypatch.setenv("PYTHONPATH", f"mine{os.pathsep}/elsewhere")
        ray = _Immediate({"CPU": 4}, {"CPU": 2, "GPU": 8})
        self.do(ray, tmp_path / "driver", monkeypatch)
        assert (ray.asked["num_cpus"], ray.asked["num_gpus"]) == (2, 1)
        assert ray.asked["runtime_env"]["env_vars"] == {
            "IFNORMAL_CARDS": str(tmp_path / "cards"),
            "PYTHONPATH": f"{tmp_path / 'mine'}{os.pathsep}/elsewhere",
        }
        monkeypatch.delenv("IFNORMAL_CARDS")
        without = _Immediate({"CPU": 4})
        self.do(without, tmp_path / "again", monkeypatch)
        assert without.asked["num_gpus"] == 0
        assert "IFNORMAL_CARDS" not in without.asked["runtime_env"]["env_vars"]

    @pytest.mark.parametrize("error", [ConnectionError("nobody"), ValueError("no address")])
    def test_an_address_without_a_cluster_is_a_users_mistake(self, error: Exception) -> None:
        def init(**_: Any) -> None:
            raise error

        with pytest.raises(UserError, match=r"no cluster at x \(no.*correct --address"):
            ray_engine._connect(SimpleNamespace(init=init), "x")  # type: ignore[arg-type]


def test_locks_are_free_after_a_killed_worker(tmp_path: Path) -> None:
    """What makes a retry possible: the system frees the lock of a process that is gone."""
    (tmp_path / LOCKS).mkdir()
    path = tmp_path / LOCKS / "run.lock"
    code = (
        "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); "
        "lock.acquire(); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    from filelock import FileLock

    with FileLock(path, timeout=5):
        pass
