"""The demo: the whole job on Colored-MNIST, from the images to the report."""

from __future__ import annotations

import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.common.storage import write_json
from ifnormal.config import (
    Budget,
    DataConfig,
    DemoConfig,
    DetectorConfig,
    DiffusionConfig,
    FitConfig,
)
from ifnormal.config.editors import EditorConfig
from ifnormal.jobs.our_files import DETECTOR, METRICS
from ifnormal.jobs.run_folder import difference, read_config
from ifnormal.jobs.stages import (
    evaluate_stage,
    explain_stage,
    fit_stage,
    report_stage,
    train_detector_stage,
)

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
        detector, fit = replace(detector, steps=2000), replace(fit, steps=3 * fit.steps // 2)
    return data, detector, fit


def demo(config: DemoConfig) -> tuple[Path, dict[str, Any]]:
    """Train, fit, explain, evaluate and report; the report's path and the figures.

    With `resume`, a finished detector is taken as it is and the fit goes on from its checkpoint;
    what follows takes a minute and is done anew. Without, the run begins anew, and what an earlier
    one left in the folder goes away.

    Raises:
        UserError: `out` cannot be written, or what is to be resumed was made with other options.
    """
    data, detector, fit = budgeted(config)
    editor = EditorConfig(**{f.name: getattr(config, f.name) for f in fields(EditorConfig)})
    default = DiffusionConfig()
    diffusion = replace(
        default,
        inversion=replace(default.inversion, concepts=config.concepts),
        latent=replace(default.latent, concepts=config.concepts),
    )
    run, begun = config.out, time.perf_counter()
    if config.resume and (run / "detector" / DETECTOR).exists():
        _require_same(config, data, detector)
    else:
        facts = {"budget": config.budget}
        train_detector_stage(run, data, detector, config.seed, facts)
    fit_stage(run, fit, config.seed, config.resume, editor, diffusion)
    explain_stage(run)
    metrics = evaluate_stage(run, _JUDGE_STEPS[config.budget])
    report = report_stage(run)
    metrics["total_s"] = round(time.perf_counter() - begun, 1)
    if not config.resume:  # all in, with reading the images again and the report
        metrics["wall_clock_s"] = metrics["total_s"]
        write_json(run / METRICS, {k: v for k, v in metrics.items() if k != "total_s"})
    return report, metrics


def _require_same(config: DemoConfig, data: DataConfig, detector: DetectorConfig) -> None:
    """Raise UserError unless the run's detector is the one that these options would train."""
    root = config.data_root
    options = {
        # The budget first: it decides others, and is what the user typed.
        "budget": config.budget,
        "seed": config.seed,
        "data": asdict(replace(data, data_root=root.expanduser().absolute() if root else None)),
        "detector": asdict(detector),
    }
    changed = difference(read_config(config.out), options)
    if changed:
        raise UserError(
            f"The run in {config.out} was begun with {changed}; give it the same options as then, "
            "or leave --resume out to begin anew."
        )
