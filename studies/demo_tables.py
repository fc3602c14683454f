"""Tables of Colored-MNIST with the embedded digits: the demo, recipes, and access to the detector.

Made from result files that hold the figures of every run. Such runs are made today by
`ifnormal bench run` with `paper --only colored-mnist`, `recipes` or `access`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ifnormal.benchmarks.experiments.access import ACCESSES
from ifnormal.benchmarks.experiments.access import KEYS as ACCESS_KEYS
from ifnormal.benchmarks.experiments.recipes import KEYS as RECIPE_KEYS
from ifnormal.benchmarks.experiments.recipes import PARTS, RECIPES
from ifnormal.benchmarks.summary import value
from ifnormal.common.storage import read_json
from ifnormal.evaluation import METRICS

RESULTS = Path(__file__).parent / "results"
Run = Mapping[str, Any]

# Column of the demo's table -> its file.
DEMOS = {
    "BCE": "demo-bce-small-embedded",
    "HSC": "demo-hsc-small-embedded",
    "DSVDD, 700 steps": "dsvdd-700-steps-embedded",
    "BCE, full MNIST": "demo-bce-paper-full",
}
# Key -> heading of the row, decimals, and what the paper says with BCE.
FIGURES = {
    "detector_auroc": ("detector AuROC", 1, "98"),
    "normality_auroc": (
        "AuROC normal against counterfactuals, both concepts (ideal 50)",
        1,
        "55.6",
    ),
    "normality_auroc_per_concept": ("the same, each concept by itself", 1, ""),
    "fid_n": ("normalised FID, both concepts", 1, "56 (other features)"),
    "fid_n_per_concept": ("the same, each concept by itself", 1, ""),
    "concept_accuracy": ("concept accuracy, R", 1, "above 90"),
    "concept_accuracy_fresh": ("concept accuracy, fresh classifier", 1, ""),
    "validity": ("valid", 1, ""),
    "truly_normal": ("truly normal", 1, ""),
    "minimal_edit": ("minimal edit", 1, ""),
    "two_reasons": ("two reasons", 1, ""),
    "two_ways": ("two minimal ways", 1, ""),
    "mse": ("squared change", 3, ""),
}


def demo_table() -> str:
    """A row a figure, by concept where it has several; a column a detector or data set."""
    runs = {title: read_json(RESULTS / f"{name}.json")["runs"] for title, name in DEMOS.items()}
    titles = [f"{title}, {_seeds(some)}" for title, some in runs.items()]
    rows = [
        [heading, *(cell(some, key, decimals) for some in runs.values()), paper]
        for key, (heading, decimals, paper) in FIGURES.items()
    ]
    return _markdown(["% (A / B: by concept)", *titles, "paper, BCE"], rows)


def recipe_table() -> str:
    """Two rows a recipe, of validation and of test images; means over concepts."""
    runs = read_json(RESULTS / "recipes.json")["runs"]
    rows = []
    for recipe, _ in RECIPES.values():
        mine = [run for run in runs if run["recipe"] == recipe]
        for part in PARTS if mine else ():
            of_part = [_over_concepts(run[part]) for run in mine]
            rows.append([recipe, f"{part}, {_seeds(mine)}", *_cells(of_part)])
    demo = read_json(RESULTS / f"{DEMOS['BCE']}.json")["runs"]
    longer = _cells([_over_concepts(run) for run in demo])
    rows.append(["the shipped recipe at its 2,000 steps", f"test, {_seeds(demo)}", *longer])
    return _markdown(["recipe", "images", *(METRICS[key].title for key in RECIPE_KEYS)], rows)


def access_table() -> str:
    """A row a kind of access to the detector."""
    rows = []
    for access, heading in ACCESSES.items():
        runs = [
            {**run, "queries": run["facts"].get("surrogate", {}).get("queries", {}).get("used")}
            for run in read_json(RESULTS / "any-detector.json")["rows"]
            if run["door"] == access
        ]
        figures = [cell(runs, key) for key in ACCESS_KEYS]
        rows.append([heading, *figures, cell(runs, "queries", 0)])
    titles = [METRICS[key].title for key in ACCESS_KEYS]
    return _markdown(["access to the detector", *titles, "queries"], rows)


def cell(runs: Sequence[Run], key: str, decimals: int = 1) -> str:
    """Mean ± deviation over runs, of each concept where the figure has several."""
    known = [run[key] for run in runs if run.get(key) is not None]
    columns = zip(*(some if isinstance(some, list) else [some] for some in known), strict=True)
    return " / ".join(_spread(column, decimals) for column in columns) or "–"


def _spread(values: Sequence[float], decimals: int) -> str:
    told = f"{mean(values):,.{decimals}f}"
    return f"{told} ± {stdev(values):.{decimals}f}" if len(values) > 1 else told


def _cells(runs: Sequence[Run]) -> list[str]:
    return [cell(runs, key) for key in RECIPE_KEYS]


def _over_concepts(run: Run) -> Run:
    return {key: value(run, key) for key in RECIPE_KEYS}


def _seeds(runs: Sequence[Run]) -> str:
    return f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"


def _markdown(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
