"""The run folder: what in it is ours, what a stage outdates, and the record in `config.json`."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.common.provenance import provenance
from ifnormal.common.storage import HALF_WRITTEN, read_json, write_json
from ifnormal.explanation.pictures import PICTURE

CONFIG = "config.json"
OWN_IMAGES = "own-images"
SECOND = "second-detector"

_TENSORS = r"(\.json|-[0-9a-f]{12}\.safetensors)"
_EXPLANATION = rf"(explanation{_TENSORS}|images/{PICTURE.pattern}|parts/(job|part-\d{{6,}})\.json)"
# What each stage makes. A stage done anew outdates its own files and those of all after it.
# The judge depends on the images alone, so only a new detector, which may have others, outdates it;
# and so does the second one, which has the first one's options.
_MADE_BY = {
    "detector": rf"(detector/detector|judge/judge|{SECOND}/detector){_TENSORS}"
    r"|detector/losses\.jsonl",
    "fit": rf"explainer/(explainer|checkpoint|latent generator|detector/detector){_TENSORS}"
    r"|explainer/(losses|latent generator)\.jsonl"
    rf"|{OWN_IMAGES}/((explanation/)?{_EXPLANATION}|report\.html)",
    "explain": rf"explanation/{_EXPLANATION}",
    "evaluate": rf"gradient/{_EXPLANATION}|truth\.json|metrics\.json",
    "report": r"report\.html",
}
# Deepest first, so that each is empty when its turn comes.
_FOLDERS = (
    *(f"{OWN_IMAGES}/{name}" for name in ("explanation/images", "explanation", "images", "parts")),
    OWN_IMAGES,
    *("explanation/images", "explanation", "gradient/images", "gradient"),
    *("explainer/detector", "explainer", "judge", SECOND, "detector", "."),
)


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
        names = sorted(path.relative_to(run).as_posix() for path in _files(run, "detector"))
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
    emptied = set()
    for path in _files(run, stage):
        path.unlink(missing_ok=True)
        emptied.add(path.parent)
    for name in _FOLDERS[:-1]:
        folder = run / name
        if folder in emptied:
            with suppress(OSError):  # it holds a file of the user's
                folder.rmdir()
                emptied.add(folder.parent)


def _files(run: Path, stage: str) -> Iterator[Path]:
    """Files that this stage or a later one wrote."""
    stages = list(_MADE_BY)
    pattern = re.compile("|".join(_MADE_BY[name] for name in stages[stages.index(stage) :]))
    for name in _FOLDERS:
        folder = run / name
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            half = HALF_WRITTEN.fullmatch(path.name)
            whole = path.with_name(half[1]) if half else path
            if pattern.fullmatch(whole.relative_to(run).as_posix()) and not path.is_dir():
                yield path


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
