"""write_report: a run folder as one HTML file that can be mailed, opened anywhere and printed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ifnormal
from ifnormal.report.contrast import make_contrast
from ifnormal.report.curves import HEIGHT, WIDTH, make_curves
from ifnormal.report.figures import PER_CONCEPT, make_rows, mean
from ifnormal.report.gallery import make_cards
from ifnormal.report.making import make_groups
from ifnormal.report.page import render
from ifnormal.report.run import Run, read_run
from ifnormal.report.verdict import make_verdict
from ifnormal.report.wording import concept_name, duration, listing, score
from ifnormal.storage import write_atomic

FILE = "report.html"
CARDS = 24


def write_report(run: Path, cards: int = CARDS) -> Path:
    """Write `report.html` into a run folder, from whatever the folder holds.

    Args:
        run: a folder with `explanation/` and, all optional, `gradient/`, `truth.json`,
            `metrics.json`, `config.json`, `detector/losses.jsonl`, `explainer/losses.jsonl`.
        cards: the most anomalies shown; large images may leave room for fewer.

    Returns:
        The path of the report.

    Raises:
        UserError: there is no explanation, or a file that is there cannot be understood.
    """
    run = Path(run)
    return write_atomic(run / FILE, render(_values(read_run(run), cards)))


def _values(run: Run, cards: int) -> dict[str, Any]:
    from ifnormal.metrics import METRICS

    explanation = run.explanation
    config = run.config or explanation.facts
    unlisted = {
        key: value
        for key, value in run.metrics.items()
        if key.removesuffix(PER_CONCEPT) not in METRICS
    }
    trainings = [(title, make_curves(lines)) for title, lines in run.losses.items()]
    return {
        "version": ifnormal.__version__,
        "run": run,
        "explanation": explanation,
        "verdict": make_verdict(run),
        "cards": make_cards(
            explanation, run.truth, cards, heatmaps=getattr(explanation, "heatmaps", None)
        ),
        "total": len(explanation),
        "concepts": explanation.concepts,
        "concept_letters": listing([concept_name(k) for k in range(explanation.concepts)]),
        "threshold": score(explanation.threshold),
        "targets": [f"{target:.0%}" for target in explanation.traversal_targets.tolist()],
        "contrast": make_contrast(run),
        "rows": make_rows(run.metrics, METRICS),
        "trainings": [(title, curves) for title, curves in trainings if curves],
        "curve_width": WIDTH,
        "curve_height": HEIGHT,
        "made": _made(config, run.metrics),
        "groups": make_groups({**config, "further facts of the figures": unlisted}),
    }


def _made(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Wall clock, machine and seed in one sentence; empty where nothing of it is known."""
    seconds, versions = mean(metrics.get("wall_clock_s")), config.get("versions")
    facts = []
    if isinstance(versions, dict) and versions.get("cpu"):
        facts.append(f"on {versions['cpu']}")
    if config.get("seed") is not None:
        facts.append(f"with seed {config['seed']}")
    if config.get("commit"):
        facts.append(f"at commit {str(config['commit'])[:12]}")
    if seconds is None and not facts:
        return ""
    start = "This run was made" if seconds is None else f"The whole run took {duration(seconds)}"
    return f"{start} {', '.join(facts)}".rstrip() + "."
