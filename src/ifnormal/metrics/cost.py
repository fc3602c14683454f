"""What an explanation costs; measured where it is made, described here."""

from __future__ import annotations

from ifnormal.metrics.metric import Metric

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
