"""Theorems 4.2 and 4.3 on points of the plane whose density is known, with small networks."""

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
from ifnormal.benchmarks.line_chart import Chart, draw
from ifnormal.benchmarks.summary import rows
from ifnormal.common.storage import write_atomic

NAME = "theory"
_SETUP, _DETECTOR = "two-clouds", "none"
_STEPS = {"small": 2000, "paper": 10_000}
# Variant -> its name in table and figure, and fields of `ToyGame`.
_VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "without-score": ("without L_φ", {"score_weight": 0.0}),
    "bare": ("without L_φ, L_rec, L_cyc", {"score_weight": 0.0, "reconstruction_weight": 0.0}),
    "flat": ("flat φ, λ_φ = 1", {"score_weight": 1.0, "phi": "flat"}),
    "knows-0.3": ("φ knows, λ_φ = 0.3", {"score_weight": 0.3, "phi": "sharp"}),
    "knows-1": ("φ knows, λ_φ = 1", {"score_weight": 1.0, "phi": "sharp"}),
}
_COLUMNS = {
    "total_variation": "total variation",
    "kl": "KL, nats",
    "value": "V* (best D)",
    "played": "V as played",
    "score": "L_φ",
    "to_normal": "on the normal side at α = 0, %",
}
_NOTES = (
    "V = λ_gan (E[min(0, −1 + D(x))] + E[min(0, −1 − D(x̄))]) + λ_rec (L_rec + L_cyc), λ_gan = 1. D "
    "gains only within [−1, 1], so D* = sign(p − q) and V* = −2 λ_gan (1 − TV(p, q)) + λ_rec (…): "
    "−2 exactly where the generator's distribution q is the data's p and nothing is lost.",
    "Total variation and KL(q ‖ p) are of a histogram of 20,000 points over 24 x 24 cells against "
    "the exact probabilities of the cells; a sample of the data itself has about 0.04 and 0.009.",
    "V as played is near −2 for any D that says the same everywhere, also before any training: by "
    "itself it proves nothing. The distribution does.",
    "Three quarters of the data are on the normal side; α is uniform.",
)


def _plan(selection: Selection) -> list[BenchRun]:
    if not selection.takes(_SETUP, _DETECTOR):
        return []
    steps = _STEPS[selection.budget]
    return [
        BenchRun(
            NAME, _SETUP, _DETECTOR, seed, variant, selection.budget, {**options, "steps": steps}
        )
        for seed in selection.seeds
        for variant, (_, options) in _VARIANTS.items()
    ]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    import torch

    from ifnormal.benchmarks.options import with_options
    from ifnormal.benchmarks.toy_game import ToyGame, play, two_clouds

    # The networks are so small that sharing them out only costs time.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = play(with_options(ToyGame(), run.options), two_clouds(), run.seed)
    finally:
        torch.set_num_threads(threads)
    return {**rows[-1], "rows": rows}


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    made = rows(plan, finished, _COLUMNS, lambda run: _VARIANTS[run.variant][0])
    title = "Theorems 4.2 and 4.3: the generator's distribution against the data's"
    return [Table(title, list(_COLUMNS.values()), made, _NOTES)]


def _figures(finished: Sequence[Finished], folder: Path) -> list[Path]:
    """`theory.svg`: divergence and V over training, of the first seed of each variant."""
    games: dict[str, Sequence[Mapping[str, Any]]] = {}
    for one in finished:
        games.setdefault(_VARIANTS[one.run.variant][0], one.metrics["rows"])
    if not games:
        return []

    def chart(title: str, key: str, level: tuple[float, str], ends: tuple[float, float]) -> Chart:
        lines = {name: [(row["step"], row[key]) for row in game] for name, game in games.items()}
        return Chart(title, "steps", lines, level, *ends)

    charts = [
        chart("Total variation from the data", "total_variation", (0.0, ""), (0.0, 1.0)),
        chart("V with the best D", "value", (-2.0, "−2 λ_gan"), (-2.5, -0.5)),
    ]
    words = "Theorems 4.2 and 4.3: divergence and value of the game over training"
    return [write_atomic(folder / "theory.svg", draw(charts, words))]


EXPERIMENT = Experiment(
    name=NAME,
    title="What the game converges to: the data's distribution, unless a detector says otherwise",
    source="theorems 4.2 and 4.3 of the paper",
    plan=_plan,
    perform=_perform,
    tables=_tables,
    figures=_figures,
    headline=("total_variation", "value"),
)
