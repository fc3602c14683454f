"""Starting a run in a process of its own, and how many such processes a machine has room for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ifnormal.benchmarks.experiment import BenchRun, Workplace
from ifnormal.benchmarks.sweep_folder import LOG, Outcome, is_done, note_attempt, write_failure
from ifnormal.config.checks import require

_THREADS_A_JOB = 2
# Environment variables that limit the threads of numerical libraries.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
Started = Callable[[subprocess.Popen[str]], None]


@dataclass(frozen=True)
class Share:
    """How many runs use the cores at the same time.

    Attributes:
        jobs: number of runs at a time.
        threads: number of threads of each run.
    """

    jobs: int
    threads: int


def available_cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_cores(jobs: int | None, threads: int | None, cores: int) -> Share:
    """The jobs and threads asked for; those left open are chosen so that they fill the cores.

    Raises:
        UserError: a number is below 1.
    """
    for name, value in (("jobs", jobs), ("threads", threads)):
        require(value is None or value >= 1, f"--{name} must be at least 1.")
    if jobs is None:
        threads = min(_THREADS_A_JOB, cores) if threads is None else threads
        jobs = max(1, cores // threads)
    return Share(jobs, threads or max(1, cores // jobs))


def run_in_process(
    run: BenchRun,
    workplace: Workplace,
    threads: int,
    wait: float = 0.0,
    started: Started | None = None,
) -> Outcome:
    """Do a run in a new process and wait for its end; its output goes to `log.txt` in its folder.

    Args:
        run: the run.
        workplace: folders of the sweep.
        threads: number of threads of the process.
        wait: seconds to wait if another runner is doing the run.
        started: is called with the process, so that the caller can end it early.
    """
    folder, begun = workplace.out / run.key, time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    root = None if workplace.data_root is None else str(workplace.data_root.absolute())
    job = {
        "run": asdict(run),
        "out": str(workplace.out.absolute()),
        "data_root": root,
        "threads": threads,
        "wait": wait,
    }
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads)), "PYTHONPATH": _paths()}
    with (folder / LOG).open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ifnormal.benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the runner, which ends its workers itself
        )
        with process:
            if started is not None:
                started(process)
            answer = _ask(process, json.dumps(job))
    try:
        told = json.loads(answer.splitlines()[-1])
        return Outcome(run, told["state"], time.perf_counter() - begun, told["sentence"])
    except (IndexError, ValueError, KeyError):
        return _died(run, workplace.out, process.returncode, time.perf_counter() - begun)


def _paths() -> str:
    """PYTHONPATH of the process: this package first, whatever else is installed."""
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(Path(__file__).parents[3]), *([known] if known else [])])


def _ask(process: subprocess.Popen[str], job: str) -> str:
    """Send the job and wait for the answer. The input stays open, as the worker ends with it."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(job + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it died at once; its log has the reason
    answer = process.stdout.read()
    process.wait()
    return answer


def _died(run: BenchRun, out: Path, code: int, seconds: float) -> Outcome:
    """The outcome of a worker without an answer: its runner, the system or a crash ended it."""
    if code == -signal.SIGTERM:
        return Outcome(run, "stopped", seconds)
    if is_done(out, run):
        return Outcome(run, "done", seconds)
    how = f"by the signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    hint = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
    sentence = f"The run's process ended {how}{hint}; see {run.key}/{LOG}."
    log = out / run.key / LOG
    write_failure(out, run, sentence, log.read_text(errors="replace")[-10_000:])
    outcome = Outcome(run, "failed", seconds, sentence)
    note_attempt(out, outcome)
    return outcome
