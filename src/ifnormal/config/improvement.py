"""Options of refinement and thrift, which improve finished counterfactuals."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ifnormal.config.checks import require


@dataclass(frozen=True)
class RefineConfig:
    """How counterfactuals that are still flagged are refined; see `ifnormal.explainers.refine`.

    Attributes:
        steps: gradient steps per image.
        learning_rate: learning rate of the offset that is added to the generator's condition.
        minimality: weight of the pixel distance between the anomaly and the refined image.
        faithfulness: weight of the pixel distance between the refined image and the generator's own
            edit, which keeps the concept.
        aim: calibrated score to aim at, where the threshold is higher; a typical normal image has
            0.05 to 0.1. An image that passes only the threshold is kept if none reaches the aim.
        reach: largest distance of the refined image from the generator's own edit, as a share of
            the distance between that edit and the anomaly. The generator has not learnt to edit
            images further away.
    """

    steps: int = 20
    learning_rate: float = 0.05
    minimality: float = 1.0
    faithfulness: float = 5.0
    aim: float = 0.2
    reach: float = 1.0

    def __post_init__(self) -> None:
        require(self.steps >= 1, "refine steps must be at least 1.")
        require(0 < self.learning_rate < inf, "refine learning_rate must be positive and finite.")
        require(0 <= self.minimality < inf, "refine minimality must be 0 or positive and finite.")
        require(0 < self.aim < 1, "refine aim must lie between 0 and 1.")
        require(0 < self.reach < inf, "refine reach must be positive and finite.")


@dataclass(frozen=True)
class ThriftConfig:
    """How unneeded parts of an edit are reverted; see `ifnormal.explainers.thrift`.

    Attributes:
        spend: share of the distance between score and threshold, in log-odds, that reverting may
            cost. 0 lets no score rise, 1 lets it rise to the threshold.
        again: a reverted region is needed if the generator edits it again by more than this share
            of the first edit.
        regions: largest number of regions that are reverted one by one, the most edited first.
        faint: changes of a pixel by at most this many of 255 steps belong to no region; all of them
            are reverted together or not at all.
    """

    spend: float = 0.5
    again: float = 0.2
    regions: int = 12
    faint: int = 16

    def __post_init__(self) -> None:
        require(0 <= self.spend <= 1, "thrift spend must lie between 0 and 1.")
        require(0 <= self.again < inf, "thrift again must be 0 or positive and finite.")
        require(self.regions >= 1, "thrift regions must be at least 1.")
        require(0 <= self.faint <= 254, "thrift faint must lie between 0 and 254.")
