"""Truth: what a judge, who never saw the detector, says of the counterfactuals (`truth.json`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.report.wording import short_line


@dataclass(frozen=True, slots=True)
class Judged:
    """The judge's verdict on one counterfactual: whether it is normal, and what is seen in it."""

    is_normal: bool
    verdict: str


@dataclass(frozen=True)
class Truth:
    """The judge's verdicts on all counterfactuals of an explanation; none if nobody judged them.

    Attributes:
        rows: K verdicts for each explained image.
    """

    rows: Sequence[Sequence[Judged]] = ()

    def of(self, row: int | None, concept: int) -> Judged | None:
        """The verdict on a counterfactual of the explained image in this row, if there is one."""
        return self.rows[row][concept] if self.rows and row is not None else None

    @property
    def normal_share(self) -> float | None:
        """The share of counterfactuals that are normal; None if none was judged."""
        verdicts = [judged.is_normal for row in self.rows for judged in row]
        return sum(verdicts) / len(verdicts) if verdicts else None


def parse_truth(
    path: Path, content: Mapping[str, Any], prefix: str, shape: tuple[int, int]
) -> Truth:
    """The verdicts under `{prefix}is_normal` and `{prefix}verdicts`.

    Args:
        path: the file, for messages.
        content: what it holds.
        prefix: of the keys.
        shape: (number of explained images, K) of the explanation.

    Raises:
        UserError: there are verdicts of another shape.
    """
    is_normal, verdicts = content.get(f"{prefix}is_normal"), content.get(f"{prefix}verdicts")
    if is_normal is None:
        return Truth()
    if verdicts is None:
        verdicts = [[""] * shape[1]] * shape[0]
    for key, table in (("is_normal", is_normal), ("verdicts", verdicts)):
        if not _has_shape(table, shape):
            raise UserError(
                f"{path}: {prefix}{key} must be {shape[0]} lists of {shape[1]}, as the explanation "
                "beside it has; judge that explanation again."
            )
    return Truth(
        [
            [
                Judged(bool(normal), short_line(str(words)))
                for normal, words in zip(*row, strict=True)
            ]
            for row in zip(is_normal, verdicts, strict=True)
        ]
    )


def _has_shape(table: Any, shape: tuple[int, int]) -> bool:
    return (
        isinstance(table, list)
        and len(table) == shape[0]
        and all(isinstance(row, list) and len(row) == shape[1] for row in table)
    )
