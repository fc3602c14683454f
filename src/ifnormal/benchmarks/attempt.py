"""attempt: do one run in this process, unless it is done or another process is doing it."""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock, Timeout

from ifnormal.benchmarks.engines.process import available_cores
from ifnormal.benchmarks.experiment import BenchRun, Workplace
from ifnormal.benchmarks.experiments import experiment_named
from ifnormal.benchmarks.sweep_folder import (
    FAILURE,
    LOCKS,
    METRICS_FILE,
    TRACEBACK,
    Outcome,
    is_done,
    note_attempt,
    write_failure,
)
from ifnormal.common.errors import UserError, one_line
from ifnormal.common.storage import read_json, write_json
from ifnormal.jobs.our_files import CONFIG
from ifnormal.jobs.run_folder import update_config

_KEPT: tuple[str, ...] = ("seconds", "images_per_s")
_DATA = "IFNORMAL_DATA"


def attempt(run: BenchRun, workplace: Workplace, wait: float = 0.0) -> Outcome:
    """Do a run unless it is done or another process is doing it. A failure is saved and returned.

    Args:
        run: the run.
        workplace: folders of the sweep.
        wait: seconds to wait for another process that has the run, since it may be about to die.
    """
    out, folder = workplace.out, workplace.out / run.key
    begun = time.perf_counter()
    (out / LOCKS).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / LOCKS / f"{run.key}.lock", timeout=wait):
            if is_done(out, run):
                return Outcome(run, "was done")
            outcome = _do(run, folder, _with_data(workplace), begun)
            note_attempt(out, outcome)
            return outcome
    except Timeout:
        return Outcome(run, "elsewhere")


def _do(run: BenchRun, folder: Path, workplace: Workplace, begun: float) -> Outcome:
    try:
        for name in (FAILURE, TRACEBACK):
            (folder / name).unlink(missing_ok=True)
        _begin(run, folder)
        figures = experiment_named(run.experiment).perform(run, folder, workplace)
        write_json(folder / METRICS_FILE, figures)
    except Exception as error:  # the sweep goes on after any error
        said = one_line(error) or "no reason given"
        sentence = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {said}"
        write_failure(workplace.out, run, " ".join(sentence.split()), traceback.format_exc())
        return Outcome(run, "failed", time.perf_counter() - begun, sentence)
    return Outcome(run, "done", time.perf_counter() - begun)


def _begin(run: BenchRun, folder: Path) -> None:
    """Write `config.json`: run, versions, commit, machine. Seconds of an earlier attempt stay."""
    path = folder / CONFIG
    known = read_json(path) if path.exists() else {}
    write_json(path, {name: known[name] for name in _KEPT if name in known})
    machine = {"cores": available_cores(), "load": _load()}
    update_config(folder, {"run": asdict(run), "seed": run.seed, "machine": machine})


def _load() -> list[float] | None:
    """Load averages of the system when the run begins; None if it has none."""
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except (OSError, AttributeError):
        return None


def _with_data(workplace: Workplace) -> Workplace:
    """The workplace with the data root of this machine, IFNORMAL_DATA, if its own is not here."""
    root, here = workplace.data_root, os.environ.get(_DATA)
    if root is not None and not root.is_dir() and here:
        return replace(workplace, data_root=Path(here))
    return workplace
