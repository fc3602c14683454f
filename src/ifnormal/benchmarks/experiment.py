"""Experiment: how its runs are planned, done and shown. Each is one file in `experiments/`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

BenchBudget = Literal["small", "paper"]
_HASHED = 8
PIXEL = "pixel"  # the generator of the paper


@dataclass(frozen=True)
class BenchRun:
    """One run of a sweep: setup, detector, seed, variant and budget.

    Attributes:
        experiment: name of the experiment that performs it.
        setup: id of a setup, such as "mnist/one-vs-rest/7".
        detector: objective of the detector, such as "bce".
        seed: of all random numbers.
        variant: how it differs from the default run, in a word.
        budget: "small" or "paper".
        options: the options that differ from the setup's budget, by dotted names, such as
            {"fit.weights.score": 0.0}; JSON-compatible.
        given: those options that the user set for all runs of a sweep (`--set`). Runs with
            different ones are shown in different tables.
        content: digest of everything else that the figures depend on: the setup's card, and the
            defaults of all other options.
        generator: what makes the counterfactuals, as `--generator` names it.
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
    generator: str = PIXEL

    @property
    def key(self) -> str:
        """Name of the run's folder: readable parts, and a hash of all fields.

        Runs that differ in any field have different folders; the same run has the same folder on
        every machine.
        """
        facts = asdict(self)
        del facts["given"]  # they are among the options
        generator = [self.generator] if self.generator != PIXEL else []
        if not generator:  # runs had no generator once, and keep their folders
            del facts["generator"]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:_HASHED]
        kind = [self.setup, self.detector, *generator, self.variant]
        parts = (*kind, f"seed{self.seed}", self.budget)
        words = (re.sub(r"[^\w.+]+", "-", part) for part in parts)
        return "_".join([*words, digest])

    def __str__(self) -> str:
        """How a line of progress names the run."""
        words = [] if self.generator == PIXEL else [self.generator]
        words += [] if self.variant == "default" else [self.variant]
        words += [f"{name}={value}" for name, value in self.given.items()]
        return " ".join([self.setup, self.detector, *words, f"seed {self.seed}"])


@dataclass(frozen=True)
class Selection:
    """Which runs of an experiment are wanted.

    Attributes:
        only: pattern of ids of setups, as for file names ("mnist/*"); None selects all.
        seeds: the seeds.
        detectors: objectives; () selects those that the experiment has by default.
        budget: "small" or "paper".
        generators: what makes the counterfactuals; () selects what the experiment has by default.
    """

    only: str | None = None
    seeds: tuple[int, ...] = (0,)
    detectors: tuple[str, ...] = ()
    budget: BenchBudget = "small"
    generators: tuple[str, ...] = ()

    @property
    def each_generator(self) -> tuple[str, ...]:
        """The generators, the pixel generator where none is given."""
        return self.generators or (PIXEL,)

    def takes(self, setup: str, detector: str | None = None) -> bool:
        """Whether runs of this setup, and of this detector if it is given, are wanted."""
        chosen = not self.detectors or detector is None or detector in self.detectors
        return chosen and fnmatchcase(setup, self.only or "*")


@dataclass(frozen=True)
class Workplace:
    """Folders that all runs of a sweep use.

    Attributes:
        out: folder of the sweep.
        data_root: folder of data sets; None if there is none.
    """

    out: Path
    data_root: Path | None = None

    @property
    def shared(self) -> Path:
        """Folder of detectors, judges and diffusion models that several runs need."""
        return self.out / "shared"


@dataclass(frozen=True)
class Finished:
    """A run that is done, and its figures."""

    run: BenchRun
    metrics: Mapping[str, Any]
    folder: Path


@dataclass(frozen=True)
class Cell:
    """One figure of a table.

    Attributes:
        mean: over its runs; None if there are none.
        deviation: standard deviation over its runs; None for fewer than two.
        runs: number of runs that have the figure.
        expected: number of runs that the sweep plans; tables show if some are missing.
        paper: the figure in the paper; None if it has none.
        text: words in place of numbers.
        extractor: the features that the figure was measured in, if it is one of features.
    """

    mean: float | None
    deviation: float | None = None
    runs: int = 0
    expected: int = 0
    paper: float | None = None
    text: str | None = None
    extractor: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of figures; `tables.py` renders it as Markdown, HTML or JSON.

    Attributes:
        title: what it shows.
        columns: headings of the columns, without that of the row headings.
        rows: heading -> one cell for each column.
        notes: sentences below it, about units, extractors and budgets.
    """

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Cell]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Experiment:
    """An experiment of the paper, or one of ours.

    Attributes:
        name: name on the command line.
        title: what it shows, in a line.
        source: section of the paper, or "ifnormal".
        plan: returns the runs for a selection, always in the same order. Loads no torch.
        perform: does a run in its folder and returns its figures, JSON-compatible. The runner
            writes them to `metrics.json`. The folder may hold more, such as a report.
        tables: makes tables from (planned runs, finished runs); figures of runs that are planned
            but not finished are shown as missing. Loads no torch.
        figures: draws pictures of finished runs into a folder; None if the experiment has none.
        headline: keys of the figures that are printed when a run ends.
        missing: data root -> {setup: what is missing}, for setups without a card whose images are
            not there. Loads no torch.
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
