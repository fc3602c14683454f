"""Metric: the facts of a figure, from which tables and reports draw their arrows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """What a figure in `metrics.json` is.

    Attributes:
        key: its key in `metrics.json`.
        title: what a reader sees.
        unit: "%", "s", "images/s" or "" for a plain number.
        direction: whether more is better, less is better, or nearer to `ideal`.
        ideal: the figure of a perfect explanation, where there is one.
        paper: the paper's figure on C-MNIST with several normal classes and BCE, where it has one.
        meaning: one sentence for somebody who has not read the paper.
        source: where the metric comes from.
        in_features: it is measured in the features of a network, whose name belongs to the figure:
            `fid_extractor` in `metrics.json`.
    """

    key: str
    title: str
    unit: str
    direction: Literal["higher", "lower", "nearer"]
    ideal: float | None
    paper: float | None
    meaning: str
    source: str
    in_features: bool = False

    @property
    def heading(self) -> str:
        """Title and unit, for a column of a table."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


WALL_CLOCK_S = Metric(
    key="wall_clock_s",
    title="time of the run",
    unit="s",
    direction="lower",
    ideal=None,
    paper=None,
    meaning="Seconds from start to end: training detector, explainer and judge, explaining and "
    "measuring.",
    source="ifnormal; not in the paper",
)
IMAGES_PER_S = Metric(
    key="images_per_s",
    title="training speed",
    unit="images/s",
    direction="higher",
    ideal=None,
    paper=None,
    meaning="Training images that went through one step of the explainer's training each second.",
    source="ifnormal; not in the paper",
)
