"""Sensitivity (appendix I of the paper): one option at a time, all others at their default."""

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

_SETUP = "cmnist/one+cyan"

# Name in the table -> what is different. Shares of the default weight, whatever it is.
_WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "λ_φ": ("score",),
    "λ_rec": ("reconstruction", "cycle"),
    "λ_r": ("concept",),
}
_SHARES = (0.0, 0.5, 2.0, 4.0)
_CONCEPTS = (1, 2, 3, 4)
_SAMPLING: Mapping[str, Mapping[str, float]] = {
    "α: 0 and 1 alone": {"fit.targets_zero": 0.7, "fit.targets_one": 0.3},
    "α: uniform": {"fit.targets_zero": 0.0, "fit.targets_one": 0.0},
    "α: always 0": {"fit.targets_zero": 1.0, "fit.targets_one": 0.0},
}
DEFAULT = "default"


def variants() -> dict[str, dict[str, Any]]:
    """Every row of the table: its name and the options that differ from the default."""
    from ifnormal.config import FitConfig

    weights, concepts = FitConfig().weights, FitConfig().concepts
    rows: dict[str, dict[str, Any]] = {DEFAULT: {}}
    for symbol, names in _WEIGHTS.items():
        for share in _SHARES:
            rows[f"{symbol} x {share:g}"] = {
                f"fit.weights.{name}": share * getattr(weights, name) for name in names
            }
    rows |= {f"K = {count}": {"fit.concepts": count} for count in _CONCEPTS if count != concepts}
    return rows | {name: dict(options) for name, options in _SAMPLING.items()}


def _plan(selection: Selection) -> list[BenchRun]:
    if not selection.takes(_SETUP):
        return []
    detectors = selection.detectors or ("bce",)
    return [
        BenchRun("sensitivity", _SETUP, detector, seed, name, selection.budget, options)
        for detector in detectors
        for name, options in variants().items()
        for seed in selection.seeds
    ]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.full_run import full_run

    return full_run(run, folder, workplace)


_COLUMNS: Mapping[str, str] = {
    "normality_auroc": "normality AuROC",
    "fid_n": "FID_N",
    "concept_accuracy": "concept accuracy",
    "validity": "valid",
    "truly_normal": "truly normal",
    "two_ways": "two minimal ways",
    "mse": "squared change",
    "diversity": "diversity",
    "monotonicity": "monotonicity",
}


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    return [
        Table(
            f"Sensitivity on {_SETUP}",
            list(_COLUMNS.values()),
            rows(plan, finished, _COLUMNS, lambda run: run.variant),
            (
                "One option differs from the default in each row; weights are multiples of their "
                "default. λ_rec stands for reconstruction and cycle together. One concept (K = 1) "
                "has no concept accuracy and no diversity worth the name.",
            ),
        )
    ]


EXPERIMENT = Experiment(
    "sensitivity",
    "Weights, number of concepts and sampling of α, one at a time",
    "appendix I of the paper",
    _plan,
    _perform,
    _tables,
    headline=("normality_auroc", "truly_normal"),
)
