"""BenchRun: one run of a sweep, known by what it is and not by when it was made."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

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
