"""The folder of a sweep: its plan, its runs and their outcomes. Loads no torch.

```
plan.json         all planned runs, and the setups without data
shared/           detectors and judges that several runs need
locks/            a lock for each run
attempts.jsonl    a line for each run that ended, with its outcome
<key>/            a run: config.json, log.txt; metrics.json if it is done, failure.json if it failed
```
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from ifnormal.benchmarks.experiment import BenchRun, Finished
from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json, write_atomic, write_json

PLAN, ATTEMPTS, LOCKS = "plan.json", "attempts.jsonl", "locks"
METRICS_FILE, FAILURE, TRACEBACK, LOG = "metrics.json", "failure.json", "traceback.txt", "log.txt"

State = Literal["done", "was done", "failed", "elsewhere", "stopped"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of an attempt at a run.

    Attributes:
        run: the run.
        state: "done" now, "was done" before, "failed", is being done "elsewhere", or "stopped".
        seconds: duration of this attempt.
        sentence: why it failed.
    """

    run: BenchRun
    state: State
    seconds: float = 0.0
    sentence: str = ""


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep.

    Attributes:
        experiment: name of the experiment.
        runs: all runs that were ever planned in this folder, in order.
        skipped: setup without data -> what is missing.
    """

    experiment: str
    runs: tuple[BenchRun, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)


def is_done(out: Path, run: BenchRun) -> bool:
    """Whether the run has its figures, which are written last."""
    return (out / run.key / METRICS_FILE).exists()


def finished(out: Path, runs: Iterable[BenchRun]) -> list[Finished]:
    """The runs that are done, with their figures.

    Raises:
        UserError: figures cannot be read.
    """
    return [
        Finished(run, read_json(out / run.key / METRICS_FILE), out / run.key)
        for run in runs
        if is_done(out, run)
    ]


def failures(out: Path, runs: Iterable[BenchRun]) -> dict[str, str]:
    """Key of each run whose last attempt failed -> the reason in a sentence."""
    found = {}
    for run in runs:
        path = out / run.key / FAILURE
        if not is_done(out, run) and path.exists():
            found[run.key] = str(read_json(path).get("sentence", "unknown"))
    return found


def write_failure(out: Path, run: BenchRun, sentence: str, traceback: str) -> None:
    """Save why a run failed."""
    folder = out / run.key
    write_atomic(folder / TRACEBACK, traceback)
    write_json(
        folder / FAILURE,
        {"sentence": sentence, "traceback": TRACEBACK, "at": _now(), "run": asdict(run)},
    )


def note_attempt(out: Path, outcome: Outcome) -> None:
    """Append the outcome of an attempt to `attempts.jsonl`."""
    line = json.dumps(
        {
            "key": outcome.run.key,
            "state": outcome.state,
            "seconds": round(outcome.seconds, 1),
            "at": _now(),
            "host": platform.node(),
            "pid": os.getpid(),
        }
    )
    with (out / ATTEMPTS).open("a") as file:
        file.write(line + "\n")


def remember_plan(
    out: Path, experiment: str, runs: Sequence[BenchRun], skipped: Mapping[str, str]
) -> Plan:
    """Add runs to the plan in the folder; returns the whole plan.

    Raises:
        UserError: the folder belongs to another experiment or cannot be written.
    """
    from filelock import FileLock

    from ifnormal.jobs.run_folder import require_writable

    require_writable(out)
    with FileLock(out / f"{PLAN}.lock"):
        known = read_plan(out) if (out / PLAN).exists() else Plan(experiment, ())
        if known.experiment != experiment:
            raise UserError(
                f"{out} holds runs of the experiment {known.experiment}, not of {experiment}; "
                "name another folder with --out."
            )
        # A run whose budget has changed since is replaced by its successor.
        successors = {_place(run): run for run in runs}
        kept = [successors.pop(_place(run), run) for run in known.runs]
        added = list(successors.values())
        asked = {run.setup for run in runs}
        missing = {s: why for s, why in known.skipped.items() if s not in asked} | dict(skipped)
        plan = Plan(experiment, (*kept, *added), missing)
        document = {**asdict(plan), "runs": [asdict(run) for run in plan.runs]}
        write_json(out / PLAN, document)
    return plan


def read_plan(out: Path) -> Plan:
    """The plan in the folder of a sweep.

    Raises:
        UserError: the folder has none, or it cannot be understood.
    """
    if not (out / PLAN).exists():
        raise UserError(
            f"{out} is no folder of a sweep; make one with ifnormal bench run NAME --out {out}."
        )
    saved = read_json(out / PLAN)
    try:
        return Plan(saved["experiment"], tuple(map(bench_run, saved["runs"])), saved["skipped"])
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{out / PLAN} is not as this version of ifnormal writes it ({error!r}); remove it and "
            "give the command of the sweep again, its runs stay."
        ) from None


def bench_run(saved: Mapping[str, Any]) -> BenchRun:
    """BenchRun from the JSON of `asdict`."""
    return BenchRun(**saved)


def _place(run: BenchRun) -> tuple[str, ...]:
    """The place of a run in the tables, which does not depend on the options of its budget."""
    given = json.dumps(run.given, sort_keys=True)
    kind = (run.setup, run.detector, run.generator, run.variant)
    return (*kind, str(run.seed), run.budget, given)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
