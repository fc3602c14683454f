"""SweepView shows a sweep on the terminal: a line for each run, the time left, a live table."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ifnormal.benchmarks.experiment import PIXEL, BenchRun, Experiment
from ifnormal.benchmarks.summary import value
from ifnormal.benchmarks.sweep_folder import METRICS_FILE, Outcome
from ifnormal.benchmarks.tables import number
from ifnormal.common.errors import printable
from ifnormal.common.storage import read_json

_SHOWN, _FLYING = 3, 8


class SweepView:
    """Shows the progress of a sweep on standard error; a context manager.

    Args:
        experiment: its headline figures are shown.
        runs: the runs to do.
        out: folder of the sweep.
        jobs: number of runs at a time, to estimate the time left; a cluster may do more.
    """

    def __init__(
        self, experiment: Experiment, runs: Sequence[BenchRun], out: Path, jobs: int
    ) -> None:
        self._headline = experiment.headline
        self._out, self._jobs, self._total = out, jobs, len(runs)
        self._ended, self._spent, self._since = 0, 0.0, time.perf_counter()
        self._running: dict[str, tuple[BenchRun, float]] = {}
        self._states: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._figures: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for run in runs:
            self._states[_group(run)]["left"] += 1
        self._live: Any = None
        if sys.stderr.isatty() and runs:
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, markup=False, highlight=False)
            self._live = Live(get_renderable=self._table, console=console, refresh_per_second=1)

    def __enter__(self) -> SweepView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, done: int, skipped: Mapping[str, str]) -> None:
        """Print how many runs there are to do, and which setups are skipped."""
        runs = "1 run" if self._total == 1 else f"{self._total} runs"
        self._say(f"{runs} to do, {done} done before.")
        if skipped:
            names = list(skipped)
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            setups = "1 setup is" if len(names) == 1 else f"{len(names)} setups are"
            self._say(
                f"{setups} skipped for want of data ({', '.join(names[:_SHOWN])}"
                f"{more}); ifnormal bench list tells how to get it."
            )

    def started(self, run: BenchRun) -> None:
        """Note that a run has begun."""
        self._running[run.key] = (run, time.perf_counter())

    def ended(self, outcome: Outcome) -> None:
        """Print one line for a run that has ended."""
        run = outcome.run
        self._running.pop(run.key, None)
        self._ended += 1
        self._spent += outcome.seconds
        states = self._states[_group(run)]
        states["left"] -= 1
        states[outcome.state] += 1
        line = f"[{self._ended}/{self._total}] {run}: {outcome.state}"
        if outcome.state == "done":
            line += f" in {_duration(outcome.seconds)}{self._figures_of(run)}"
        elif outcome.state == "failed":
            line += f", {outcome.sentence}"
        left = self._time_left()
        self._say(printable(line) + (f"  ({_duration(left)} left)" if left else ""))

    def _figures_of(self, run: BenchRun) -> str:
        metrics = read_json(self._out / run.key / METRICS_FILE)
        told = ""
        for key in self._headline:
            found = value(metrics, key)
            if found is not None:
                self._figures[_group(run)][key].append(found)
                told += f", {key} {number(found)}"
        return told

    def _time_left(self) -> float:
        """Seconds until all runs are done, estimated from the runs that have ended."""
        if not self._spent:
            return 0.0
        at_a_time = max(self._jobs, self._spent / (time.perf_counter() - self._since))
        return self._spent / self._ended * (self._total - self._ended) / at_a_time

    def _say(self, line: str) -> None:
        if self._live is not None:
            self._live.console.print(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def _table(self) -> Any:
        """The live table: a row for each family and detector, and the current runs."""
        from rich.table import Table

        table = Table("", "done", "failed", "left", *self._headline)
        for group, states in list(self._states.items()):
            figures = [self._figures[group][key] for key in self._headline]
            means = [number(sum(f) / len(f)) if f else "" for f in figures]
            numbers = [str(states[name] or "") for name in ("done", "failed", "left")]
            table.add_row(group, *numbers, *means)
        running = list(self._running.values())
        for run, since in running[:_FLYING]:
            table.add_row(f"  {run}: {_duration(time.perf_counter() - since)}", style="dim")
        if len(running) > _FLYING:
            table.add_row(f"  and {len(running) - _FLYING} more", style="dim")
        left = self._time_left()
        table.caption = f"{self._ended} of {self._total} runs ended" + (
            f", {_duration(left)} left" if left else ""
        )
        return table


def _group(run: BenchRun) -> str:
    """Heading under which runs are counted: family, detector, generator and variant."""
    words = [] if run.generator == PIXEL else [run.generator]
    words += [] if run.variant == "default" else [run.variant]
    return ", ".join([run.setup.partition("/")[0], run.detector, *words])


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
