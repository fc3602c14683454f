"""The run folder, read once: an explanation, and whatever else was measured and written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.report.listing import SHOWN, Entry, Listing, read_listing
from ifnormal.report.wording import short_line

LOSSES = {"detector": "Detector", "explainer": "Explainer"}


@dataclass(frozen=True)
class Judged:
    """What the judge says of one counterfactual: would a person call it normal, and what it is."""

    is_normal: bool
    verdict: str


@dataclass(frozen=True)
class Truth:
    """What a judge who never saw the detector says of each counterfactual.

    Attributes:
        is_normal: a row of K for each explained image: would a person call it normal?
        verdicts: the same, what the judge sees, in words.
    """

    is_normal: Sequence[Sequence[bool]]
    verdicts: Sequence[Sequence[str]]

    def of(self, entry: Entry, concept: int) -> Judged | None:
        """The verdict on one counterfactual of an image; None of one that has none."""
        row = entry.row
        if row is None:
            return None
        return Judged(self.is_normal[row][concept], self.verdicts[row][concept])


@dataclass(frozen=True)
class Run:
    """Everything the report tells; only the explanation is certain to be there.

    Attributes:
        name: the folder's name.
        explanation: the anomalies and their counterfactuals.
        truth: the judge's verdicts on them.
        gradient: plain pixel-gradient edits of some of the same anomalies, for contrast.
        gradient_truth: the judge's verdicts on those.
        metrics: the figures, by the keys of `ifnormal.evaluation.METRICS`.
        config: options, versions, seed.
        losses: the training records, by who was trained.
    """

    name: str
    explanation: Listing
    truth: Truth | None
    gradient: Listing | None
    gradient_truth: Truth | None
    metrics: Mapping[str, Any]
    config: Mapping[str, Any]
    losses: Mapping[str, Sequence[Mapping[str, Any]]]


def read_run(folder: Path, shown: int = SHOWN) -> Run:
    """Read a run folder, or any other with an explanation in it or in its `explanation/`.

    Args:
        folder: the run.
        shown: the most images of each kind that are kept.

    Raises:
        UserError: there is no explanation in it, or a file that is there cannot be understood.
    """
    is_run = (folder / "explanation" / "explanation.json").is_file()
    alone = not is_run and (folder / "explanation.json").is_file()
    explanation = read_listing(folder if alone else folder / "explanation", shown)
    has_gradient = not alone and (folder / "gradient" / "explanation.json").is_file()
    gradient = read_listing(folder / "gradient") if has_gradient else None
    path = folder / "truth.json"
    truth = {} if alone else _read_optional(path)
    return Run(
        name=short_line(folder.resolve().name),
        explanation=explanation,
        truth=_truth(path, truth, "", explanation),
        gradient=gradient,
        gradient_truth=_truth(path, truth, "gradient_", gradient) if gradient else None,
        metrics={} if alone else _read_optional(folder / "metrics.json"),
        config={} if alone else _read_optional(folder / "config.json"),
        losses={
            title: rows
            for part, title in LOSSES.items()
            if not alone and (rows := _read_lines(folder / part / "losses.jsonl"))
        },
    )


def _read_optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _truth(path: Path, truth: Mapping[str, Any], prefix: str, explanation: Listing) -> Truth | None:
    is_normal, verdicts = truth.get(f"{prefix}is_normal"), truth.get(f"{prefix}verdicts")
    if is_normal is None:
        return None
    shape = (explanation.counts.explained, explanation.head.concepts)
    if verdicts is None:
        verdicts = [[""] * shape[1]] * shape[0]
    for key, table in (("is_normal", is_normal), ("verdicts", verdicts)):
        if not _has_shape(table, shape):
            raise UserError(
                f"{path}: {prefix}{key} must be {shape[0]} lists of {shape[1]}, as the explanation "
                "beside it has; judge that explanation again."
            )
    return Truth(
        is_normal=[[bool(value) for value in row] for row in is_normal],
        verdicts=[[short_line(str(value)) for value in row] for row in verdicts],
    )


def _has_shape(table: Any, shape: tuple[int, int]) -> bool:
    return (
        isinstance(table, list)
        and len(table) == shape[0]
        and all(isinstance(row, list) and len(row) == shape[1] for row in table)
    )


def _read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    # A line counts once its newline is written: a training that was killed leaves half a line.
    rows = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}, is no JSON object; remove the file or line.")
        rows.append(row)
    return rows
