"""sweep: plans the runs of an experiment and has an engine do those that are not done yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from ifnormal.benchmarks.engines.local import run_locally
from ifnormal.benchmarks.engines.process import Share
from ifnormal.benchmarks.experiment import (
    BenchRun,
    Experiment,
    Finished,
    Selection,
    Table,
    Workplace,
)
from ifnormal.benchmarks.experiments import experiment_named
from ifnormal.benchmarks.options import spelled_out
from ifnormal.benchmarks.sweep_folder import (
    Outcome,
    is_done,
    read_plan,
    remember_plan,
)
from ifnormal.benchmarks.sweep_view import SweepView
from ifnormal.benchmarks.tables import Format, render
from ifnormal.common.errors import UserError
from ifnormal.config import Objective
from ifnormal.config.checks import require, require_seed
from ifnormal.config.editors import EDITORS

Engine = Callable[
    [
        Sequence[BenchRun],
        Workplace,
        Share,
        Callable[[BenchRun], None],
        Callable[[Outcome], None],
    ],
    None,
]

# Options that name a run, and the command line's option for each.
_DECIDED = {"data.setup": "--only", "detector.objective": "--detectors"}


@dataclass(frozen=True)
class Shard:
    """A part of the list of runs: every `of`-th, from `index`."""

    index: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        require(self.of >= 1, "--of must be at least 1.")
        require(0 <= self.index < self.of, f"--index must lie between 0 and {self.of - 1}.")


@dataclass(frozen=True)
class Swept:
    """The result of a sweep: the number of runs in each state, and the first that failed."""

    counts: Mapping[str, int]
    first_failure: Outcome | None = None


def planned(
    name: str, selection: Selection, options: Mapping[str, Any] | None = None
) -> list[BenchRun]:
    """The runs of an experiment, always in the same order.

    Args:
        name: of the experiment.
        selection: which of its runs.
        options: options of all these runs, by dotted names. Runs with such options are other runs,
            in folders and tables of their own.

    Raises:
        UserError: there is no such experiment, or the selection is empty.
    """
    experiment = experiment_named(name)
    require(bool(selection.seeds), "--seeds must name at least one seed.")
    for seed in selection.seeds:
        require_seed(seed)
    _require_known("detector", selection.detectors, get_args(Objective))
    _require_known("generator", selection.generators, tuple(EDITORS))
    for option, instead in _DECIDED.items():
        if option in (options or {}):
            raise UserError(f"--set cannot change {option}, which names a run; use {instead}.")
    runs = [spelled_out(_given(run, options or {})) for run in experiment.plan(selection)]
    if not runs:
        raise UserError(
            f"The experiment {name} has no runs for{_asked(selection)}; ifnormal bench list tells "
            "the ids of the setups, ifnormal bench experiments the experiments."
        )
    unused = sorted(set(selection.generators) - {run.generator for run in runs})
    if unused:
        raise UserError(
            f"The experiment {name} has no runs with the generator {unused[0]}; leave it out of "
            "--generators."
        )
    twice = [key for key, count in Counter(run.key for run in runs).items() if count > 1]
    if twice:
        raise UserError(f"The experiment {name} plans {twice[0]} twice; correct its plan.")
    return runs


def _require_known(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        require(
            name in known,
            f"There is no {what} {name!r}; --{what}s takes {', '.join(known)}.",
        )


def _asked(selection: Selection) -> str:
    """The selection as on the command line."""
    words = [f" --only {selection.only!r}"] if selection.only else []
    for option in ("detectors", "generators"):
        names = getattr(selection, option)
        words += [f" --{option} {','.join(names)}"] if names else []
    return "".join(words)


def _given(run: BenchRun, options: Mapping[str, Any]) -> BenchRun:
    return replace(run, options={**run.options, **options}, given=dict(options))


def sweep(
    name: str,
    selection: Selection,
    workplace: Workplace,
    missing: Mapping[str, str],
    share: Share,
    shard: Shard | None = None,
    engine: Engine = run_locally,
    options: Mapping[str, Any] | None = None,
) -> Swept:
    """Do the runs of an experiment that are not done yet.

    Args:
        name: of the experiment.
        selection: which runs.
        workplace: folders of the sweep.
        missing: setup without data -> what is missing; runs of these are skipped and named.
        share: how many runs at a time, with how many threads each.
        shard: the part of the list that is done here.
        engine: does the runs.
        options: see `planned`.

    Raises:
        UserError: the selection is empty, or the folder belongs to another experiment.
    """
    experiment, runs = experiment_named(name), planned(name, selection, options)
    lacking = {run.setup: missing[run.setup] for run in runs if run.setup in missing}
    remember_plan(workplace.out, name, runs, lacking)
    shard = shard or Shard()
    mine = [run for run in runs if run.setup not in missing][shard.index :: shard.of]
    left = [run for run in mine if not is_done(workplace.out, run)]
    counts: Counter[str] = Counter({"was done": len(mine) - len(left)})
    failed: list[Outcome] = []
    with SweepView(experiment, left, workplace.out, share.jobs) as view:
        view.begin(len(mine) - len(left), lacking)

        def ended(outcome: Outcome) -> None:
            counts[outcome.state] += 1
            if outcome.state == "failed":
                failed.append(outcome)
            view.ended(outcome)

        if left:
            engine(left, workplace, share, view.started, ended)
    return Swept(counts, failed[0] if failed else None)


def write_tables(out: Path, format: Format) -> str:
    """All tables of a sweep as one text, with the runs that are done so far.

    Raises:
        UserError: it is no folder of a sweep, or a run in it cannot be read.
    """
    from ifnormal.benchmarks.provenance import origin_of
    from ifnormal.benchmarks.sweep_folder import finished

    plan = read_plan(out)
    experiment = experiment_named(plan.experiment)
    done = finished(out, plan.runs)
    tables = tables_of(experiment, plan.runs, done)
    return render(tables, origin_of(out, experiment, plan, done), format)


def tables_of(
    experiment: Experiment, runs: Sequence[BenchRun], done: Sequence[Finished]
) -> list[Table]:
    """The tables of an experiment, separately for each budget and each set of given options."""
    return [
        replace(table, title=f"{table.title} ({kind})")
        for kind, some in _by_kind(runs).items()
        for table in experiment.tables(some, done)
    ]


def _by_kind(runs: Sequence[BenchRun]) -> dict[str, list[BenchRun]]:
    """Runs that may share a table: those with the same budget and the same given options."""
    kinds: dict[str, list[BenchRun]] = {}
    for run in sorted(runs, key=lambda run: bool(run.given)):
        given = [f"{name}={value}" for name, value in run.given.items()]
        kinds.setdefault(", ".join([f"{run.budget} budget", *given]), []).append(run)
    return kinds


def draw_figures(out: Path) -> list[Path]:
    """Draw the figures of a sweep into its `figures/`, if its experiment has any.

    They show the runs of the first table: one budget, and no given options if there are such runs.
    """
    from ifnormal.benchmarks.sweep_folder import finished

    plan = read_plan(out)
    experiment = experiment_named(plan.experiment)
    first = next(iter(_by_kind(plan.runs).values()), [])
    done = finished(out, first)
    if experiment.figures is None or not done:
        return []
    folder = out / "figures"
    folder.mkdir(exist_ok=True)
    return experiment.figures(done, folder)
