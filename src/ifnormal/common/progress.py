"""Progress of long work: a bar with an ETA on a terminal, and every figure as a line of JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any

from ifnormal.common.storage import write_atomic

_EVERY = 30.0  # seconds between two lines where there is no terminal


class Progress:
    """Reports steps of one piece of long work; a context manager.

    A bar on a terminal; elsewhere a line to standard error every half minute. With `log`, each
    `report` becomes one JSON object a line there; `start` > 0 (a resumed run) drops the lines of
    steps that will be done again, and counts the seconds on from the last one that stays.
    """

    def __init__(self, title: str, total: int, log: Path | None = None, start: int = 0) -> None:
        self._log, spent = None, 0.0
        if log is not None:
            kept = _lines_before(log, start) if start else []
            spent = _last_seconds(kept)
            write_atomic(log, "".join(kept))
            self._log = log.open("a", buffering=1)
        self._bar: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}", style="dim"),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task(title, total=total, completed=start, figures="")
        self._begun = time.perf_counter() - spent
        self._title, self._total, self._told = title, total, time.perf_counter()

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._log is not None:
            self._log.close()

    def report(self, step: int, figures: Mapping[str, float]) -> None:
        """Say that `step` steps are done, with the figures of the last one."""
        if self._log is not None:
            seconds = round(time.perf_counter() - self._begun, 2)
            rounded = {name: float(f"{value:.5g}") for name, value in figures.items()}
            self._log.write(json.dumps({"step": step, **rounded, "seconds": seconds}) + "\n")
        if self._bar is not None:
            shown = "  ".join(f"{name} {value:.3g}" for name, value in list(figures.items())[:4])
            self._bar.update(self._task, completed=step, figures=shown)
        elif time.perf_counter() - self._told > _EVERY:
            self._told = time.perf_counter()
            print(f"{self._title}: {step:,} of {self._total:,}", file=sys.stderr, flush=True)


def logged_seconds(log: Path) -> float:
    """How long work took, by its log: with what was done before it was resumed."""
    return _last_seconds(_lines_before(log))


def _last_seconds(lines: Sequence[str]) -> float:
    return float(json.loads(lines[-1]).get("seconds", 0.0)) if lines else 0.0


def _lines_before(log: Path, start: float = inf) -> list[str]:
    """Lines of an earlier log up to and including step `start`; half-written lines are dropped."""
    kept = []
    for line in log.read_text().splitlines() if log.exists() else []:
        try:
            if json.loads(line)["step"] <= start:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    return kept
