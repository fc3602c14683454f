"""Every option there is, as frozen dataclasses checked when made; the command line is these.

No torch here: `ifnormal --help` reads this file and must answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ifnormal.errors import UserError

Objective = Literal["bce", "hsc", "dsvdd"]
Budget = Literal["smoke", "small", "paper"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


@dataclass(frozen=True)
class DataConfig:
    """Which images, and which of them are normal.

    Attributes:
        setup: name of a registered setup; `colored-mnist` is the paper's C-MNIST.
        data_root: folder of Hugging Face style Parquet sets (`mnist/`, `emnist_letters/`); without
            it the embedded 5,000 digits are used. The environment variable IFNORMAL_DATA sets it.
        normal_digit: the digit that is normal in any colour.
        normal_color: the colour that makes any digit normal.
        colors_per_digit: "all" draws every training digit in each colour that its role allows,
            "one" gives each digit a single colour by the seed.
        drawings: use at most this many drawings, test drawings included; 0 means all.
        outliers: number of outlier-exposure letters.
    """

    setup: str = "colored-mnist"
    data_root: Path | None = None
    normal_digit: int = 1
    normal_color: str = "cyan"
    colors_per_digit: Literal["one", "all"] = "all"
    drawings: int = 0
    outliers: int = 12000

    def __post_init__(self) -> None:
        _require(0 <= self.normal_digit <= 9, "normal_digit must be between 0 and 9.")
        _require(
            self.drawings == 0 or self.drawings >= 200,
            "drawings must be 0 (all) or at least 200, so that every digit occurs in every split.",
        )
        _require(self.outliers >= 32, "outliers must be at least 32.")


@dataclass(frozen=True)
class DetectorConfig:
    """How a detector of section 1 of the design is trained.

    Attributes:
        objective: "bce" and "hsc" use outlier exposure, "dsvdd" only normal images.
        steps: optimizer steps.
        batch_size: images a step, half normal and half outliers where these are used.
        learning_rate: peak of the one-cycle schedule.
        false_alarm_rate: share of held-out normal images above the decision threshold.
        width: channels of the first stage; the later ones have 2x and 4x as many.
    """

    objective: Objective = "bce"
    steps: int = 1500
    batch_size: int = 128
    learning_rate: float = 2e-3
    false_alarm_rate: float = 0.05
    width: int = 32

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "detector steps must be at least 1.")
        _require(self.batch_size >= 2, "detector batch_size must be at least 2.")
        _require(0 < self.false_alarm_rate < 1, "false_alarm_rate must lie between 0 and 1.")
        _require(self.learning_rate > 0, "detector learning_rate must be positive.")
