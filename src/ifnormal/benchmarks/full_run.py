"""full_run: a whole run from the images to the report, with the seconds of each stage."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ifnormal.benchmarks.experiment import BenchRun, Workplace
from ifnormal.benchmarks.materials import Materials
from ifnormal.common.storage import read_json
from ifnormal.config.editors import EDITORS
from ifnormal.jobs.our_files import CONFIG
from ifnormal.jobs.run_folder import seconds, timed, update_config
from ifnormal.jobs.second_opinion import MOST_ASKED


def full_run(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    """Do a run of the main experiment in its folder; returns its figures.

    The folder then holds `explainer/`, `explanation/` of the first anomalies, `preview.png` and
    `report.html`. Whatever an earlier attempt finished, or saved of its fit, is used.

    Args:
        run: setup, detector, seed and options.
        folder: of the run, with its `config.json`.
        workplace: holds shared detectors and judges, and knows where the data sets are.

    Returns:
        Figures under the keys of `METRICS`; `anomalies`, how many were measured; and `seconds` of
        each stage. `wall_clock_s` is what the run takes by itself: whatever it shares with other
        runs counts with the seconds of its training. `cpu_s` is processor time of this process,
        which depends less on what else the machine does.
    """
    made, begun = Materials(run, folder, workplace), time.perf_counter()
    with timed(folder, "setup", begun):
        setup = made.setup
    facts = {"setup": {"normal": setup.normal, **setup.facts}, "fit_seed": run.seed}
    update_config(folder, {**asdict(made.options), "seed": run.seed, **facts})
    with timed(folder, "detector", time.perf_counter()):
        _ = made.detector
    (folder / "detector").mkdir(exist_ok=True)
    losses = made.shared["detector"].folder / "losses.jsonl"
    shutil.copyfile(losses, folder / "detector" / "losses.jsonl")
    with timed(folder, "judge", time.perf_counter()):
        judge = made.judge
    if EDITORS[run.generator].needs_backbone:
        with timed(folder, "backbone", time.perf_counter()):
            _ = made.backbone
    with timed(folder, "fit", time.perf_counter() - seconds(folder).get("fit", 0.0)):
        explainer = made.explainer
    if explainer.images_per_second:  # 0 where an earlier attempt finished the fit
        update_config(folder, {"images_per_s": round(explainer.images_per_second, 1)})
    with timed(folder, "explain", time.perf_counter()):
        explanation = made.explain()
    with timed(folder, "second_opinion", time.perf_counter()):
        explanation = made.independent.ask(explanation, MOST_ASKED)
    with timed(folder, "evaluate", time.perf_counter()):
        figures = made.figures(explanation, made.second if judge is None else None)
    stages = seconds(folder) | {name: shared.seconds for name, shared in made.shared.items()}
    figures |= {
        "seconds": stages,
        "wall_clock_s": round(sum(stages.values()), 1),
        "cpu_s": round(time.process_time(), 1),
        "images_per_s": read_json(folder / CONFIG).get("images_per_s"),
    }
    made.save(explanation, figures)
    return figures
