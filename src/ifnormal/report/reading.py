"""A run folder as the report reads it: explanation, verdicts, figures, options, losses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.report.listing import SHOWN, Listing, read_listing
from ifnormal.report.truth import parse_truth
from ifnormal.report.wording import short_line

LOSSES = {"detector": "Detector", "explainer": "Explainer"}


@dataclass(frozen=True)
class Run:
    """What a run folder holds; everything but the explanation may be missing.

    Attributes:
        name: the folder's name.
        explanation: the anomalies and their counterfactuals.
        gradient: plain pixel-gradient edits of some of the same anomalies, for contrast.
        metrics: the figures, by the keys of `ifnormal.evaluation.METRICS`.
        config: options, versions, seed.
        losses: the training records, by who was trained.
    """

    name: str
    explanation: Listing
    gradient: Listing | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def read_run(folder: Path, shown: int = SHOWN) -> Run:
    """Read a run folder, or any other with an explanation in it or in its `explanation/`.

    Args:
        folder: the run.
        shown: the most images of each kind that are kept.

    Raises:
        UserError: there is no explanation in it, or a file that is there cannot be understood.
    """
    name = short_line(folder.resolve().name)
    is_run = (folder / "explanation" / "explanation.json").is_file()
    if not is_run and (folder / "explanation.json").is_file():
        return Run(name, read_listing(folder, shown))
    truth = _read_optional(folder / "truth.json")

    def judged(part: str, prefix: str, most: int) -> Listing:
        listing = read_listing(folder / part, most)
        shape = (listing.counts.explained, listing.head.concepts)
        return replace(listing, truth=parse_truth(folder / "truth.json", truth, prefix, shape))

    has_gradient = (folder / "gradient" / "explanation.json").is_file()
    return Run(
        name=name,
        explanation=judged("explanation", "", shown),
        gradient=judged("gradient", "gradient_", SHOWN) if has_gradient else None,
        metrics=_read_optional(folder / "metrics.json"),
        config=_read_optional(folder / "config.json"),
        losses={
            title: rows
            for part, title in LOSSES.items()
            if (rows := _read_lines(folder / part / "losses.jsonl"))
        },
    )


def _read_optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


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
