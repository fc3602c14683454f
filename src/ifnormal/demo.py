"""The demo: the whole job on Colored-MNIST, from the images to the report."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ifnormal.config import Budget, DataConfig, DemoConfig, DetectorConfig, FitConfig
from ifnormal.errors import UserError
from ifnormal.report import write_report
from ifnormal.stages import evaluate_stage, explain_stage, fit_stage, train_detector_stage

# Steps of the judge where a budget has its own; None is the judge's default.
_JUDGE_STEPS: dict[Budget, int | None] = {"smoke": 60, "small": None, "paper": None}


def budgeted(config: DemoConfig) -> tuple[DataConfig, DetectorConfig, FitConfig]:
    """What a budget means: how much data, and how many steps."""
    data = DataConfig(data_root=config.data_root)
    detector = DetectorConfig(objective=config.objective)
    fit = FitConfig(concepts=config.concepts)
    if config.budget == "smoke":
        data = replace(data, drawings=1000, outliers=1000)
        detector, fit = replace(detector, steps=60), replace(fit, steps=30, checkpoint_every=15)
    elif config.budget == "paper":
        detector, fit = replace(detector, steps=2000), replace(fit, steps=3 * fit.steps)
    return data, detector, fit


def demo(config: DemoConfig) -> tuple[Path, dict[str, Any]]:
    """Train, fit, explain, evaluate and report; the report's path and the figures.

    Raises:
        UserError: `out` cannot be written, or another run's checkpoint is to be resumed.
    """
    data, detector, fit = budgeted(config)
    run, begun = config.out, time.perf_counter()
    if run.exists() and not run.is_dir():
        raise UserError(f"{run} is a file; name a folder with --out.")
    trained = (run / "detector" / "detector.json").exists()
    if not (config.resume and trained):
        train_detector_stage(run, data, detector, config.seed)
    fit_stage(run, fit, config.seed, resume=config.resume)
    explain_stage(run)
    metrics = evaluate_stage(run, _JUDGE_STEPS[config.budget])
    report = write_report(run)
    metrics["total_s"] = round(time.perf_counter() - begun, 1)
    return report, metrics
