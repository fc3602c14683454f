"""The folder of a run: beginning it, clearing what a stage outdates, its record `config.json`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.common.provenance import provenance
from ifnormal.common.storage import read_json, write_json
from ifnormal.jobs.our_files import CONFIG, find, remove, run_files


def begin(run: Path) -> None:
    """Make sure that a new run may be written here.

    Raises:
        UserError: it is a file, cannot be written, or holds somebody else's files of our names.
    """
    require_writable(run)
    if (run / CONFIG).exists():
        known = read_json(run / CONFIG).get("versions")
        foreign = not (isinstance(known, dict) and "ifnormal" in known)
        names = [CONFIG] if foreign else []
    else:
        found = find(run, run_files("detector"))
        names = sorted(path.relative_to(run).as_posix() for path in found)
    if names:
        raise UserError(
            f"{run} already holds {names[0]}, which is of no run of ifnormal; name another folder."
        )


def require_writable(folder: Path) -> None:
    """Make the folder, and learn now rather than after the training that it cannot be written.

    Raises:
        UserError: it is a file or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror or error
        raise UserError(
            f"The folder {folder} cannot be written ({reason}); name another one."
        ) from None


def clear(run: Path, stage: str) -> None:
    """Remove what this stage and those after it once wrote, and nothing else.

    Without this, a new run in an old folder would be measured and shown with the old one's parts.
    """
    remove(run, run_files(stage))


def read_config(run: Path) -> dict[str, Any]:
    """The run's record.

    Raises:
        UserError: there is none, or it does not say which images the run is about.
    """
    if not (run / CONFIG).exists():
        raise UserError(
            f"{run} is no folder of a run; make one with ifnormal train-detector --run {run}."
        )
    config = read_json(run / CONFIG)
    if not isinstance(config.get("data"), dict) or not isinstance(config.get("seed"), int):
        raise UserError(
            f"{run / CONFIG} does not name the run's data and seed; restore it or make the run "
            f"anew with ifnormal train-detector --run {run}."
        )
    return config


def update_config(run: Path, facts: Mapping[str, Any], fresh: bool = False) -> None:
    """Add facts, and what they were made with, to the record; `fresh` begins a new one."""
    known = {} if fresh else read_json(run / CONFIG)
    write_json(run / CONFIG, {**known, **facts, **provenance()})


def difference(saved: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first option that is another one than in the record, in words; None if all are the same.

    Options that the record does not have count as different: an older version had other ones.
    """
    before, after = _flat(saved), _flat(json.loads(json.dumps(now, default=str)))
    for name, value in after.items():
        if name not in before or before[name] != value:
            return f"{name} {before.get(name, 'unknown')}, not {value}"
    return None


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= (
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return flat


@contextmanager
def timed(run: Path, stage: str, since: float) -> Iterator[None]:
    """Record a stage's seconds since `since`, also of one that is broken off and resumed later.

    Where there is no terminal for progress bars, one line says that the stage is done.
    """
    try:
        yield
    except BaseException:
        with suppress(OSError, UserError):  # the first error is the one to be told
            _record_seconds(run, stage, time.perf_counter() - since)
        raise
    _record_seconds(run, stage, time.perf_counter() - since)
    say_done(stage, since)


def say_done(stage: str, since: float) -> None:
    """One plain line for logs, such as "detector: 27 s"; a terminal has progress bars instead."""
    if not sys.stderr.isatty():
        print(f"{stage}: {time.perf_counter() - since:.0f} s", file=sys.stderr, flush=True)


def seconds(run: Path) -> dict[str, float]:
    """Seconds of each stage so far."""
    known = read_json(run / CONFIG).get("seconds")
    return known if isinstance(known, dict) else {}


def _record_seconds(run: Path, stage: str, spent: float) -> None:
    update_config(run, {"seconds": {**seconds(run), stage: round(spent, 2)}})
