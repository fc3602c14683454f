"""Options of the surrogate, which stands in for a detector that only returns scores."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ifnormal.config.checks import require


@dataclass(frozen=True)
class SurrogateConfig:
    """How a detector that only returns scores is imitated; without effect for other detectors.

    Attributes:
        query_budget: number of images that the detector may score, from the first distillation to
            the end of the fit. The few images scored before are counted as `queries_before_fit`.
        steps: optimizer steps of the surrogate before the generator is trained.
        batch_size: images per step.
        learning_rate: peak learning rate of these steps, with a one-cycle schedule.
        refresh_every: generator steps between two refreshes, which train the surrogate on new
            outputs of the generator.
        refresh_steps: optimizer steps of the surrogate per refresh.
        refresh_learning_rate: learning rate of the refreshes.
        width: channels of the first stage of the surrogate; later stages have 2x and 4x as many.
    """

    query_budget: int = 200_000
    steps: int = 1500
    batch_size: int = 128
    learning_rate: float = 2e-3
    refresh_every: int = 2
    refresh_steps: int = 2
    refresh_learning_rate: float = 5e-4
    width: int = 32

    def __post_init__(self) -> None:
        require(self.query_budget >= 100, "query_budget must be at least 100.")
        require(self.steps >= 1, "surrogate steps must be at least 1.")
        require(self.batch_size >= 4, "surrogate batch_size must be at least 4.")
        for name in ("learning_rate", "refresh_learning_rate"):
            require(0 < getattr(self, name) < inf, f"surrogate {name} must be positive and finite.")
        require(self.refresh_every >= 1, "refresh_every must be at least 1.")
        require(self.refresh_steps >= 1, "refresh_steps must be at least 1.")
        require(self.width >= 1, "surrogate width must be at least 1.")
