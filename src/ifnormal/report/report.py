"""write_report: an explanation as one HTML file that can be mailed, opened anywhere and printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ifnormal.common.storage import open_atomic
from ifnormal.report.concept_cards import make_concept_cards
from ifnormal.report.concept_effects import measure_effects
from ifnormal.report.contamination import contamination_sentences, suspects_of
from ifnormal.report.contrast import make_contrast
from ifnormal.report.curves import HEIGHT, WIDTH, make_curves
from ifnormal.report.figures import PER_CONCEPT, make_rows, mean
from ifnormal.report.gallery import BUDGET, Gallery, details_html, make_gallery
from ifnormal.report.listing import SHOWN
from ifnormal.report.opinion_table import make_opinion_table
from ifnormal.report.page import render
from ifnormal.report.printed_cards import make_cards
from ifnormal.report.provenance import make_groups
from ifnormal.report.reading import Run, read_run
from ifnormal.report.score_writing import ScoreWriting, score_writing
from ifnormal.report.second_opinion import all_of
from ifnormal.report.side_by_side import make_side_by_side
from ifnormal.report.verdict import acceptance, make_verdict
from ifnormal.report.wording import duration, joined, short_line
from ifnormal.version import __version__

FILE = "report.html"
CARDS = 24
ACCEPTED_IF = {"anomalous": "falls to {} or below", "normal": "rises to {} or above"}


def write_report(
    run: Path,
    cards: int = CARDS,
    shown: int = SHOWN,
    budget: int = BUDGET,
    metrics: Mapping[str, Any] | None = None,
    beside: Sequence[Path] = (),
) -> Path:
    """Write `report.html` into a folder, from whatever the folder holds.

    Args:
        run: a folder with `explanation.json`, or one with `explanation/` and, all optional,
            `gradient/`, `truth.json`, `metrics.json`, `config.json`, `detector/losses.jsonl`,
            `explainer/losses.jsonl`.
        cards: the most anomalies that are printed; large images may leave room for fewer.
        shown: the most explained images in the gallery, and the most others.
        budget: characters of pictures that the page itself holds for the gallery's details.
        metrics: the figures, where they are not in `metrics.json` yet.
        beside: folders of other runs, whose counterfactuals of the same images are shown side by
            side with those of this one.

    Returns:
        The path of the report.

    Raises:
        UserError: there is no explanation, a file that is there cannot be understood, or the runs
            cannot be shown side by side.
    """
    run = Path(run)
    read = read_run(run, shown)
    read = read if metrics is None else replace(read, metrics=metrics)
    others = [read_run(Path(folder), shown) for folder in beside]
    side_by_side = make_side_by_side(read, others) if others else None
    pictures = read.explanation.folder.relative_to(run).as_posix()
    writing = score_writing(read.explanation)
    gallery = make_gallery(
        read.explanation,
        "" if pictures == "." else f"{pictures}/",
        asdict(writing),
        budget=budget,
    )
    page = render(
        {**_values(read, gallery, writing, cards), "beside": side_by_side},
        score=writing,
        index=gallery.index,
        details=details_html(gallery),
        links=gallery.beside > 0,
    )
    with open_atomic(run / FILE) as file:
        file.writelines(page)
    return run / FILE


def _values(run: Run, gallery: Gallery, writing: ScoreWriting, cards: int) -> dict[str, Any]:
    from ifnormal.evaluation import METRICS

    explanation, head, counts = run.explanation, run.explanation.head, run.explanation.counts
    contamination = head.facts.get("contamination", {})
    facts = {key: value for key, value in head.facts.items() if key != "contamination"}
    config = run.config or {**facts, "detector": {**head.detector}}
    unlisted = {
        key: value
        for key, value in run.metrics.items()
        if key.removesuffix(PER_CONCEPT) not in METRICS
    }
    trainings = [(title, make_curves(lines)) for title, lines in run.losses.items()]
    return {
        "version": __version__,
        "run": run,
        "calibrated_threshold": head.calibrated_threshold,
        "verdict": make_verdict(run),
        "opinions": make_opinion_table(explanation, acceptance(run)),
        "asked": (asked := len(head.second_opinion) if explanation.opinions.asked else 0),
        "all_asked": all_of(asked),
        "gallery": gallery,
        "cards": make_cards(explanation, explanation.explained, cards),
        "explained": counts.explained,
        "others": counts.images - counts.explained,
        "skipped_count": counts.skipped,
        "concepts": head.concepts,
        "improvement": str(explanation.improvement),
        "heatmap_label": explanation.heatmap_label,
        "prompted": bool(explanation.prompts),
        "concept_names": joined(explanation.concept_names),
        "concept_cards": make_concept_cards(explanation, measure_effects(explanation)),
        "threshold": writing(head.own_threshold),
        "accepted_if": ACCEPTED_IF[head.higher_is],
        "skipped": [(short_line(bad.path), short_line(bad.reason)) for bad in explanation.skipped],
        "contamination": contamination_sentences(contamination),
        "suspects": suspects_of(contamination),
        "contrast": make_contrast(run),
        "rows": make_rows(run.metrics, METRICS, explanation.prompts),
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
