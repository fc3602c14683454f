"""Whole runs in seconds: every stage does its work, with hardly any of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import ifnormal.evaluation.evaluate
import ifnormal.jobs.demo
import ifnormal.jobs.made_once
import ifnormal.jobs.stages
from ifnormal.config import DataConfig, DemoConfig, DetectorConfig, FitConfig, GeneratorConfig

# What the verbs are told to be as small as `shrink` makes the demo.
SMALL = {
    "train-detector": [
        "--data.drawings",
        "200",
        "--data.outliers",
        "64",
        "--detector.steps",
        "30",
        "--detector.batch-size",
        "32",
        "--detector.width",
        "8",
    ],
    "fit": [
        "--fit.steps",
        "4",
        "--fit.batch-size",
        "8",
        "--fit.generator.width",
        "4",
        "--fit.generator.inner-blocks",
        "1",
        "--fit.discriminator-width",
        "4",
        "--fit.checkpoint-every",
        "2",
    ],
}


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Make the demo, the judge and the evaluation tiny until `patch` is undone."""
    budgeted, train_judge = ifnormal.jobs.demo.budgeted, ifnormal.jobs.made_once.train_judge

    def tiny(config: DemoConfig) -> tuple[DataConfig, DetectorConfig, FitConfig]:
        data, detector, fit = budgeted(config)
        return (
            replace(data, drawings=200, outliers=64),
            replace(detector, steps=30, batch_size=32, width=8),
            replace(
                fit,
                steps=4,
                batch_size=8,
                generator=GeneratorConfig(width=4, outer_blocks=1, inner_blocks=1),
                discriminator_width=4,
                checkpoint_every=2,
            ),
        )

    def quick_judge(setup: Any, seed: int, steps: int | None) -> Any:
        return train_judge(setup, seed, 3)

    patch.setattr(ifnormal.jobs.demo, "budgeted", tiny)
    patch.setattr(ifnormal.jobs.made_once, "train_judge", quick_judge)
    shrink_figures(patch)
    gradient = partial(ifnormal.jobs.stages.gradient_counterfactuals, steps=2)
    patch.setattr(ifnormal.jobs.stages, "gradient_counterfactuals", gradient)


def shrink_figures(patch: pytest.MonkeyPatch) -> None:
    """Train the networks that only figures need for three steps."""
    module = ifnormal.evaluation.evaluate
    for name in ("fresh_concept_accuracy", "substitutability"):
        patch.setattr(module, name, partial(getattr(module, name), steps=3))


def touch(run: Path, names: list[str]) -> None:
    for name in names:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{}")


def files(run: Path) -> set[str]:
    return {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
