"""Recipes for concepts that differ in their reason, with the same budget, seeds and detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ifnormal.benchmarks.experiment import (
    BenchRun,
    Experiment,
    Finished,
    Selection,
    Table,
    Workplace,
)
from ifnormal.benchmarks.summary import rows
from ifnormal.evaluation import METRICS

NAME = "recipes"
SETUP = "colored-mnist"
_ADDED = ("minimality", "structure", "path")
_WITHOUT_ADDED = {f"fit.weights.{name}": 0.0 for name in _ADDED}
_WITHOUT_MODES = {
    **_WITHOUT_ADDED,
    "fit.weights.mode": 0.0,
    "fit.weights.concept": 1.0,
    "fit.conditional": False,
}
# Variant -> its name in the table, and the options in which it differs from the shipped recipe.
RECIPES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "pixels": (
        "R on pixels + ε′ hinge (the paper)",
        {
            **_WITHOUT_MODES,
            "fit.weights.diversity": 10.0,
            "fit.concept_space": "pixels",
            "fit.concept_noise": 0.1,
        },
    ),
    "features": ("R on features + contrast", {**_WITHOUT_MODES, "fit.weights.contrast": 2.0}),
    "modes": ("normal modes", _WITHOUT_ADDED),
    "shipped": ("normal modes + minimality, structure, path (shipped)", {}),
}
KEYS = ("truly_normal", "minimal_edit", "two_reasons", "two_ways", "normality_auroc", "fid_n")
PARTS = ("validation", "test")


def _plan(selection: Selection) -> list[BenchRun]:
    if not selection.takes(SETUP):
        return []
    return [
        BenchRun(NAME, SETUP, detector, seed, recipe, selection.budget, options)
        for detector in selection.detectors or ("bce",)
        for recipe, (_, options) in RECIPES.items()
        for seed in selection.seeds
    ]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.materials import Materials

    made = Materials(run, folder, workplace)
    explanation = made.explain()
    figures = made.figures(explanation)
    made.save(explanation, figures)
    held_out = made.explainer.explain(made.setup.validation_anomalies, traversals=0)
    return {**figures, "validation": made.figures(held_out, part="validation")}


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    """One table of the validation images and one of the test images; a row a recipe."""
    validation = [Finished(one.run, one.metrics["validation"], one.folder) for one in finished]
    return [
        Table(
            f"Recipes for different reasons, {part} images",
            [METRICS[key].heading for key in KEYS],
            rows(plan, of_part, KEYS, lambda run: RECIPES[run.variant][0]),
            (
                "A recipe is chosen on the validation images, drawings that neither training nor "
                "test has. Figures that are given by concept are means over the concepts.",
            ),
        )
        for part, of_part in zip(PARTS, (validation, finished), strict=True)
    ]


EXPERIMENT = Experiment(
    name=NAME,
    title="What makes concepts differ in their reason: the paper's recipe, contrast, normal modes",
    source="ifnormal",
    plan=_plan,
    perform=_perform,
    tables=_tables,
    headline=("two_ways", "truly_normal"),
)
