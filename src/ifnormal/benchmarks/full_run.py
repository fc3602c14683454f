"""One whole run: images, detector, judge, explainer, explanation, figures, pictures, report."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ifnormal.benchmarks.experiment import BenchRun, Workplace
from ifnormal.benchmarks.materials import configs, explainer_of, measured, second_of, setup_of
from ifnormal.benchmarks.pictures import write_preview
from ifnormal.benchmarks.shared import shared_detector, shared_judge
from ifnormal.common.storage import read_json, write_json
from ifnormal.data.setups.captions import anomaly_names, judge_captions
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.evaluation.evaluate import explanation_truth
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.explanation.explanation import Explanation
from ifnormal.jobs.run_folder import CONFIG, seconds, timed, update_config
from ifnormal.report import write_report

# Anomalies that are kept as pictures; all of them are measured.
_KEPT = 24
# What another run may have done for this one.
_DETECTOR, _JUDGE = "detector", "judge"


def full_run(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    """Do a run of the main experiment in its folder; returns its figures.

    The folder then holds `explainer/`, `explanation/` of the first anomalies, `preview.png` and
    `report.html`. What an earlier attempt finished, or saved of its fit, is used.

    Args:
        run: setup, detector, seed and options.
        folder: of the run, with its `config.json`.
        workplace: holds shared detectors and judges, and knows the data.

    Returns:
        Figures under the keys of `METRICS`, `anomalies`, the number of them that were measured, and
        `seconds` of each stage. `wall_clock_s` is what the run takes by itself: a detector and a
        judge that are shared count with their training. `cpu_s` is what this process spent on it,
        which depends less on who else is at work.
    """
    options = configs(run, workplace)
    begun = time.perf_counter()
    with timed(folder, "setup", begun):
        setup = setup_of(run, workplace)
    described = {"setup": {"normal": setup.normal, **setup.facts}}
    update_config(folder, {**asdict(options), "seed": run.seed, "fit_seed": run.seed, **described})
    with timed(folder, _DETECTOR, time.perf_counter()):
        detector, shared = shared_detector(setup, options.detector, run.seed, workplace)
    (folder / "detector").mkdir(exist_ok=True)
    shutil.copyfile(shared.folder / "losses.jsonl", folder / "detector" / "losses.jsonl")
    with timed(folder, _JUDGE, time.perf_counter()):
        judged = shared_judge(setup, options.judge_steps, workplace)
    judge = None if judged is None else judged[0]
    with timed(folder, "fit", time.perf_counter() - seconds(folder).get("fit", 0.0)):
        explainer = explainer_of(run, folder, setup, detector)
    if explainer.images_per_second:  # 0 where an earlier attempt finished the fit
        update_config(folder, {"images_per_s": round(explainer.images_per_second, 1)})
    with timed(folder, "explain", time.perf_counter()):
        explanation = explainer.explain(
            setup.test_anomalies, anomaly_names(setup), traversals=_KEPT
        )
    with timed(folder, "evaluate", time.perf_counter()):
        second = second_of(run, workplace, setup) if judge is None else None
        figures = measured(run, explanation, setup, detector, judge, second)
    stages = {**seconds(folder), _DETECTOR: shared.seconds}
    if judged is not None:
        stages[_JUDGE] = judged[1].seconds
    figures["anomalies"] = len(explanation)
    figures["seconds"] = stages
    figures["wall_clock_s"] = round(sum(stages.values()), 1)
    figures["cpu_s"] = round(time.process_time(), 1)
    figures["images_per_s"] = _speed(folder)
    write_pictures(folder, explanation, setup, judge, figures)
    return figures


def write_pictures(
    folder: Path,
    explanation: Explanation,
    setup: AnomalySetup,
    judge: AttributeJudge | None,
    figures: dict[str, Any],
) -> None:
    """`preview.png`, `explanation/` of the first anomalies, `truth.json` and `report.html`."""
    write_preview(folder / "preview.png", explanation)
    kept = explanation.select(range(min(_KEPT, len(explanation))))
    kept.save(folder / "explanation")
    if judge is not None:
        truth = explanation_truth(kept, setup, judge)
        seen = judge_captions(judge.predict(kept.counterfactuals), setup)
        write_json(folder / "truth.json", {"is_normal": truth.is_normal.tolist(), "verdicts": seen})
    write_report(folder, metrics=figures)


def _speed(folder: Path) -> float | None:
    speed: float | None = read_json(folder / CONFIG).get("images_per_s")
    return speed
