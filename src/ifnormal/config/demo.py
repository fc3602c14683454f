"""The whole job on one data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ifnormal.config.checks import require, require_choices, require_seed
from ifnormal.config.detector import Objective

Budget = Literal["smoke", "small", "paper"]


@dataclass(frozen=True)
class DemoConfig:
    """The whole job on one data set, from the images to the report.

    Attributes:
        out: folder for everything the demo writes.
        objective: the detector's objective.
        budget: "smoke" exercises the whole path in about a minute and its figures mean nothing;
            "small" is the default; "paper" trains longer, for the full MNIST.
        seed: makes the run repeatable.
        concepts: K, in how many different ways each anomaly is edited.
        data_root: folder of Parquet sets with the full MNIST (`mnist/`) and, where it is there,
            EMNIST (`emnist_letters/`); without it the embedded 5,000 digits are used. On the
            command line, the environment variable IFNORMAL_DATA is its default.
        resume: go on from the last checkpoint in `out`.
    """

    out: Path = Path("runs/demo")
    objective: Objective = "bce"
    budget: Budget = "small"
    seed: int = 0
    concepts: int = 2
    data_root: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        require_choices(self)
        require_seed(self.seed)
        require(self.concepts >= 1, "concepts must be at least 1.")
