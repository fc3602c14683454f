"""BudgetPlan: how the queries to a black box are divided among kinds of images."""

from __future__ import annotations

from dataclasses import dataclass

# The most memory that queried images of one kind take.
BUFFER_BYTES = 2**29
_HELD_OUT, _BETWEEN, _FRESH = 512, 20_000, 1024


@dataclass(frozen=True)
class BudgetPlan:
    """How many queries each kind of image gets; the generator's outputs get the rest.

    Attributes:
        normal, outliers: training images that the surrogate is trained on.
        between: mixed images that it is trained on.
        held_out: normal images, and as many outliers, that it is only compared on.
        fresh: outputs of the fitted generator that it is only compared on.
    """

    normal: int
    outliers: int
    between: int
    held_out: int
    fresh: int

    @classmethod
    def make(cls, budget: int, normal: int, outliers: int, image_bytes: int) -> BudgetPlan:
        """Divide `budget` queries; at least half is left for the generator's outputs."""
        held_out = min(_HELD_OUT, budget // 40, normal // 10, outliers // 10)
        normal, outliers, training = normal - held_out, outliers - held_out, budget * 3 // 10
        if normal + outliers > training:
            few = min(normal, outliers, training // 2)
            normal, outliers = min(normal, training - few), min(outliers, training - few)
        return cls(
            normal,
            outliers,
            between=min(_BETWEEN, budget // 10, BUFFER_BYTES // image_bytes),
            held_out=held_out,
            fresh=min(_FRESH, budget // 20),
        )

    @property
    def before(self) -> int:
        """The number of queries before the generator's fit."""
        return self.normal + self.outliers + self.between + 2 * self.held_out
