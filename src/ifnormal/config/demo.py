"""Options of `ifnormal demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ifnormal.config.checks import require, require_choices, require_seed
from ifnormal.config.detector import Objective
from ifnormal.config.editors import EditorConfig

Budget = Literal["smoke", "small", "paper"]


@dataclass(frozen=True)
class DemoConfig(EditorConfig):
    """A whole run on Colored-MNIST, from the images to the report.

    Attributes:
        out: folder for everything that the demo writes.
        objective: training objective of the detector: binary cross entropy, hypersphere
            classification, Deep SVDD or FCDD.
        budget: length of the training. "smoke" takes about a minute and only shows that everything
            works, "small" is meant for the 5,000 digits, "paper" trains longer, for the full
            MNIST.
        seed: random seed; the same seed gives the same result.
        concepts: number K of concepts; each anomaly gets one counterfactual per concept.
        data_root: folder with the full MNIST (`mnist/`) and, if you have it, EMNIST
            (`emnist_letters/`) as Parquet files. By default the 5,000 digits of the extra `demo`
            are used. On the command line, the environment variable IFNORMAL_DATA is the default.
        resume: continue an interrupted run from its last checkpoint.
    """

    out: Path = Path("runs/demo")
    objective: Objective = "bce"
    budget: Budget = "small"
    seed: int = 0
    concepts: int = 2
    data_root: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_backbone()
        require_choices(self)
        require_seed(self.seed)
        require(self.concepts >= 1, "concepts must be at least 1.")
