"""The stages of the main job. Each reads a run folder and adds its part to it.

```
config.json    options, versions, seed, seconds a stage
detector/      detector, losses
explainer/     explainer, checkpoint, losses
explanation/   images, scores
judge/         the independent judge
gradient/      plain pixel-gradient counterfactuals, for contrast
truth.json     the judge's verdicts
metrics.json   the figures
report.html    the report
```
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.config import DataConfig, DetectorConfig, FitConfig, data_config
from ifnormal.data import load_setup
from ifnormal.data.folder import read_images
from ifnormal.data.setup import AnomalySetup
from ifnormal.detectors.detector import in_batches
from ifnormal.detectors.trained import TrainedDetector
from ifnormal.detectors.training import train_detector
from ifnormal.explainer import Explainer
from ifnormal.explanation import Explanation
from ifnormal.gradient import gradient_counterfactuals
from ifnormal.metrics.evaluate import evaluate, explanation_truth
from ifnormal.metrics.judge import AttributeJudge
from ifnormal.metrics.judge_training import train_judge
from ifnormal.metrics.normality_auroc import auroc
from ifnormal.metrics.truth import truth
from ifnormal.storage import read_json, write_json

_CONTRASTED = 12
# The judge's seed is fixed and no run's: whoever judges two runs must be the same.
_JUDGE_SEED = 1_234_567


def train_detector_stage(
    run: Path, data: DataConfig, config: DetectorConfig, seed: int
) -> TrainedDetector:
    """Train a detector on a setup: `detector/` and `config.json`."""
    with _recorded(run, "detector", {"data": asdict(data), "detector": asdict(config)}, seed):
        setup = load_setup(data, seed)
        _update_config(run, {"setup": {"normal": setup.normal, **setup.facts}})
        detector = train_detector(setup, config, seed, run / "detector" / "losses.jsonl")
        detector.save(run / "detector")
    return detector


def fit_stage(run: Path, config: FitConfig, seed: int, resume: bool = False) -> Explainer:
    """Train the generator against the run's detector: `explainer/`."""
    with _recorded(run, "fit", {"fit": asdict(config)}, seed):
        detector = TrainedDetector.load(run / "detector")
        setup = _setup(run)
        explainer = Explainer(detector, config)
        explainer.fit(setup.train_normal, setup.outliers, seed, run / "explainer", resume)
        explainer.save(run / "explainer")
        _update_config(run, {"images_per_s": explainer.images_per_second})
    return explainer


def explain_stage(run: Path, images: Sequence[Path] = (), out: Path | None = None) -> Explanation:
    """Explain the setup's test anomalies, or the given image files and folders: `explanation/`."""
    with _recorded(run, "explain"):
        detector = TrainedDetector.load(run / "detector")
        explainer = Explainer.load(run / "explainer", detector)
        names: Sequence[str]
        if images:
            anomalies, names = read_images(images, detector.shape)
        else:
            anomalies = (setup := _setup(run)).test_anomalies
            names = _names(setup)
        explanation = explainer.explain(anomalies, names)
        explanation.save(out or run / "explanation")
    return explanation


def evaluate_stage(run: Path, judge_steps: int | None = None) -> dict[str, Any]:
    """Measure the explanation of the test anomalies: `metrics.json`, `truth.json`, `gradient/`."""
    with _recorded(run, "evaluate"):
        detector = TrainedDetector.load(run / "detector")
        explanation = Explanation.load(run / "explanation")
        config, setup = read_json(run / "config.json"), _setup(run)
        judge = _judge(run, setup, judge_steps)
        normal_scores = in_batches(detector, setup.test_normal)
        detector_auroc = auroc(normal_scores, in_batches(detector, setup.test_anomalies))
        metrics = evaluate(explanation, normal_scores, setup, judge, config["seed"], detector_auroc)
        _contrast(run, detector, explanation, setup, judge)
    seconds = read_json(run / "config.json")["seconds"]
    metrics["wall_clock_s"] = round(sum(seconds.values()), 1)
    metrics["images_per_s"] = round(config["images_per_s"], 1)
    write_json(run / "metrics.json", metrics)
    return metrics


def _contrast(
    run: Path,
    detector: TrainedDetector,
    explanation: Explanation,
    setup: AnomalySetup,
    judge: AttributeJudge,
) -> None:
    """Pixel-gradient counterfactuals of the first anomalies, and the judge's word on everything."""
    few = slice(0, _CONTRASTED)
    plain = gradient_counterfactuals(detector, explanation.anomalies[few], explanation.names[few])
    plain.save(run / "gradient")
    predicted = _predict(judge, plain.counterfactuals)
    true = {name: values[few] for name, values in setup.attributes["test_anomalies"].items()}
    judged = explanation_truth(explanation, setup, judge)
    write_json(
        run / "truth.json",
        {
            "is_normal": judged.is_normal.tolist(),
            "verdicts": _words(_predict(judge, explanation.counterfactuals), setup),
            "gradient_is_normal": truth(
                predicted, true, setup.normal_attributes
            ).is_normal.tolist(),
            "gradient_verdicts": _words(predicted, setup),
        },
    )


def _judge(run: Path, setup: AnomalySetup, steps: int | None) -> AttributeJudge:
    """The run's judge, trained the first time it is needed."""
    if (run / "judge" / "judge.json").exists():
        return AttributeJudge.load(run / "judge")
    judge = (
        train_judge(setup, _JUDGE_SEED) if steps is None else train_judge(setup, _JUDGE_SEED, steps)
    )
    judge.save(run / "judge")
    return judge


def _predict(judge: AttributeJudge, edits: Tensor) -> dict[str, Tensor]:
    flat = judge.predict(edits.flatten(0, 1))
    return {name: values.view(edits.shape[:2]) for name, values in flat.items()}


def _words(predicted: Mapping[str, Tensor], setup: AnomalySetup) -> list[list[str]]:
    """What the judge sees, in words such as "cyan 7", one a counterfactual."""

    def word(name: str, value: int) -> str:
        return setup.attribute_names[name][value] if value >= 0 else f"unclear {name}"

    rows, columns = next(iter(predicted.values())).shape
    order = list(reversed(list(setup.attribute_names)))
    return [
        [" ".join(word(name, int(predicted[name][n, k])) for name in order) for k in range(columns)]
        for n in range(rows)
    ]


def _names(setup: AnomalySetup) -> list[str]:
    """Names of the test anomalies by what they show, such as "red 4", with their number."""
    known = setup.attributes.get("test_anomalies", {})
    order = list(reversed(list(known)))
    return [
        " ".join([*(setup.attribute_names[a][int(known[a][n])] for a in order), f"({n})"])
        for n in range(len(setup.test_anomalies))
    ]


def _setup(run: Path) -> AnomalySetup:
    config = read_json(run / "config.json")
    return load_setup(data_config(config["data"]), config["seed"])


@contextmanager
def _recorded(
    run: Path, stage: str, options: Mapping[str, Any] | None = None, seed: int | None = None
) -> Iterator[None]:
    """Write options and versions to `config.json` before a stage, and its seconds after it."""
    begun = time.perf_counter()
    facts: dict[str, Any] = dict(options or {})
    if seed is not None:
        facts["seed"] = seed
    _update_config(run, {**facts, "versions": versions(), "date": _now()})
    yield
    seconds = read_json(run / "config.json").get("seconds", {})
    seconds[stage] = round(time.perf_counter() - begun, 2)
    _update_config(run, {"seconds": seconds})


def _update_config(run: Path, facts: Mapping[str, Any]) -> None:
    path = run / "config.json"
    known = read_json(path) if path.exists() else {}
    write_json(path, {**known, **facts})


def versions() -> dict[str, str]:
    """Versions and machine worth saving beside a result."""
    packages = ("ifnormal", "torch", "numpy", "lightning-fabric", "torchmetrics", "scikit-learn")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
