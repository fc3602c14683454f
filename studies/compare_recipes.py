"""Recipes for disentangled concepts, compared fairly: same budget, same seeds, same detectors.

python studies/compare_recipes.py --steps 1000 --seeds 0 1 2

The choice is made on the validation images, the figures to believe are those of the test images.
Results go to `studies/results/recipes.json`, finished runs are not repeated; the table is
printed as Markdown for `docs/recipes.md`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ifnormal.common.provenance import versions
from ifnormal.common.storage import read_json, write_json
from ifnormal.config import DataConfig, FitConfig, Weights
from ifnormal.data import load_setup
from ifnormal.detectors.detector import in_batches
from ifnormal.evaluation.auroc import auroc
from ifnormal.evaluation.evaluate import evaluate
from ifnormal.explainers.explainer import Explainer
from trained_once import trained_detector, trained_judge

RESULTS = Path(__file__).parent / "results" / "recipes.json"

# What the recipes share is what is shipped; these are the weights that tell them apart.
_PLAIN = replace(Weights(), mode=0, minimality=0, structure=0, path=0, concept=1)
RECIPES = {
    "R on pixels + ε′ hinge (the paper)": FitConfig(
        weights=replace(_PLAIN, diversity=10),
        conditional=False,
        concept_space="pixels",
        concept_noise=0.1,
    ),
    "R on features + contrast": FitConfig(weights=replace(_PLAIN, contrast=2), conditional=False),
    "normal modes": FitConfig(
        weights=replace(_PLAIN, mode=Weights().mode, concept=Weights().concept)
    ),
    "normal modes + minimality, structure, path (shipped)": FitConfig(),
}
COLUMNS = ("truly_normal", "minimal_edit", "two_reasons", "two_ways", "normality_auroc", "fid_n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    for seed in options.seeds:
        for recipe in options.recipes:
            path = options.runs / f"{list(RECIPES).index(recipe)}-{options.steps}-{seed}.json"
            if not path.exists():
                write_json(path, run(recipe, seed, options.steps, options.runs))
    collect(options.runs, options.steps, options.results)


def run(recipe: str, seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """Fit one recipe; its figures on the validation and on the test images."""
    setup = load_setup(DataConfig(), seed)
    detector, judge = trained_detector(setup, seed, folder), trained_judge(setup, folder)
    config = replace(RECIPES[recipe], steps=steps)
    explainer = Explainer(detector, config).fit(setup.train_normal, setup.outliers, seed)
    figures: dict[str, Any] = {"recipe": recipe, "seed": seed, "steps": steps}
    for part in ("validation", "test"):
        anomalies = getattr(setup, f"{part}_anomalies")
        normal_scores = in_batches(detector, getattr(setup, f"{part}_normal"))
        explanation = explainer.explain(anomalies, traversals=0)
        detector_auroc = auroc(normal_scores, explanation.calibrated_scores_before)
        figures[part] = evaluate(
            explanation, normal_scores, setup, judge, seed, detector_auroc, part
        )
    return {**figures, "versions": versions()}


def collect(runs: Path, steps: int, results: Path) -> None:
    """Write all finished runs into one file and print the table."""
    records = [read_json(path) for path in sorted(runs.glob(f"*-{steps}-*.json"))]
    write_json(results, {"steps": steps, "runs": records})
    print(f"| recipe ({steps} steps) | part | " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * (2 + len(COLUMNS)))
    for recipe in RECIPES:
        mine = [record for record in records if record["recipe"] == recipe]
        for part in ("validation", "test") if mine else ():
            cells = [_cell([_scalar(record[part][key]) for record in mine]) for key in COLUMNS]
            print(f"| {recipe} | {part}, {len(mine)} seeds | " + " | ".join(cells) + " |")


def _scalar(value: Any) -> float | None:
    return mean(value) if isinstance(value, list) else value


def _cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    return f"{mean(known):.1f} ± {stdev(known) if len(known) > 1 else 0:.1f}"


if __name__ == "__main__":
    main()
