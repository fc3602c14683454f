"""Experiment: what the sweep runner has to know of one. Each is a file in `experiments/`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Selection:
    """Which part of an experiment is asked for.

    Attributes:
        only: a pattern as in file names ("mnist/*"), on the ids of setups; None is all of them.
        seeds: the seeds.
        detectors: objectives; () leaves the choice to the experiment.
        budget: "small" or "paper".
    """

    only: str | None = None
    seeds: tuple[int, ...] = (0,)
    detectors: tuple[str, ...] = ()
    budget: BenchBudget = "small"

    def takes(self, setup: str, detector: str | None = None) -> bool:
        """Whether runs of this setup, and of this detector where it is the only one, are meant."""
        chosen = not self.detectors or detector is None or detector in self.detectors
        return chosen and fnmatchcase(setup, self.only or "*")


@dataclass(frozen=True)
class Workplace:
    """Where a run finds and leaves what is not its own.

    Attributes:
        out: the sweep's folder; `out/shared/` holds what several runs need, such as judges, under
            names of their content.
        data_root: folder of data sets, None where there is none.
    """

    out: Path
    data_root: Path | None = None

    @property
    def shared(self) -> Path:
        """For what several runs need."""
        return self.out / "shared"


@dataclass(frozen=True)
class Finished:
    """A run and its figures, as read from its folder."""

    run: BenchRun
    metrics: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True)
class Cell:
    """One figure of a table.

    Attributes:
        mean: over the runs behind it; None where there are none.
        deviation: of them, None for fewer than two.
        runs: how many runs are behind it.
        expected: how many the sweep has in all; a table says where some are missing.
        paper: the paper's figure beside it, None where it has none.
        text: instead of numbers, words.
    """

    mean: float | None
    deviation: float | None = None
    runs: int = 0
    expected: int = 0
    paper: float | None = None
    text: str | None = None


@dataclass(frozen=True)
class Table:
    """Rows and columns under a title; rendered as Markdown, HTML or JSON by `tables.py`.

    Attributes:
        title: what it shows.
        columns: headings, without that of the rows.
        rows: heading -> one cell a column.
        notes: sentences under it: units, extractors, budgets.
    """

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Cell]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Experiment:
    """One of the paper's experiments, or of ours.

    Attributes:
        name: on the command line.
        title: what it shows, in a line.
        source: section of the paper, or "ifnormal".
        plan: the deterministic list of its runs. Loads no torch.
        perform: does a run in its folder and returns its figures, JSON-compatible. The runner
            writes them to `metrics.json`; the folder may hold more: `preview.png`, a report.
        tables: figures of all planned runs to tables. Gets the plan as well, so that missing runs
            are seen. Loads no torch.
        figures: draws into a folder from finished runs, where the experiment has any.
        headline: keys of the figures that are told as each run ends.
        missing: data root -> of setups that no card describes, those whose images are not there,
            each with what is missing. Loads no torch.
    """

    name: str
    title: str
    source: str
    plan: Callable[[Selection], list[BenchRun]]
    perform: Callable[[BenchRun, Path, Workplace], dict[str, Any]]
    tables: Callable[[Sequence[BenchRun], Sequence[Finished]], list[Table]]
    figures: Callable[[Sequence[Finished], Path], list[Path]] | None = None
    headline: tuple[str, ...] = ()
    missing: Callable[[Path | None], Mapping[str, str]] = lambda data_root: {}


BenchBudget = Literal["small", "paper"]
_HASHED = 8


@dataclass(frozen=True)
class BenchRun:
    """One run of a sweep: setup, detector, seed, variant and budget.

    Attributes:
        experiment: name of the experiment that performs it.
        setup: id of a setup, such as "mnist/one-vs-rest/7".
        detector: the detector's objective, such as "bce".
        seed: of everything random in it.
        variant: what is different about it, in a word; "default" is nothing.
        budget: "small" or "paper".
        options: the options that differ from the setup's budget, by dotted names, such as
            {"fit.weights.score": 0.0}; JSON-compatible.
        given: those of the options that were given for all runs of a sweep; tables keep runs apart
            by them.
        content: digest of everything else that decides its figures: its setup's card, and the
            defaults of whatever no option names.
    """

    experiment: str
    setup: str
    detector: str
    seed: int
    variant: str = "default"
    budget: BenchBudget = "small"
    options: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    content: str = ""

    @property
    def key(self) -> str:
        """The run's folder: readable, and with a hash of everything that it is.

        Runs that differ in anything differ in their folders; the same run has the same folder
        wherever and whenever it is made.
        """
        facts = asdict(self)
        del facts["given"]  # these are among the options, however they came there
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:_HASHED]
        parts = (self.setup, self.detector, self.variant, f"seed{self.seed}", self.budget)
        words = (re.sub(r"[^\w.+]+", "-", part) for part in parts)
        return "_".join([*words, digest])

    def __str__(self) -> str:
        """The run in a line of progress."""
        words = [] if self.variant == "default" else [self.variant]
        words += [f"{name}={value}" for name, value in self.given.items()]
        return " ".join([self.setup, self.detector, *words, f"seed {self.seed}"])
