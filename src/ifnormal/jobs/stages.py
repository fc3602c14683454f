"""The stages of the main job. Each reads a run folder and adds its part to it.

```
config.json    options, seeds, versions, commit, machine, seconds a stage
detector/      detector, losses
explainer/     explainer, checkpoint, losses
explanation/   images, scores
own-images/    explanation and report of images that were given by name
judge/         the independent judge, where the images are labelled
second-detector/   where they are not
second-opinion/    independent detectors, asked about the counterfactuals
gradient/      plain pixel-gradient counterfactuals, for contrast
truth.json     the judge's verdicts
metrics.json   the figures
report.html    the report
```
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ifnormal.common.errors import UserError
from ifnormal.common.storage import write_json
from ifnormal.config import (
    DATA_PATHS,
    DataConfig,
    DetectorConfig,
    DiffusionConfig,
    FitConfig,
    data_config,
    require_seed,
)
from ifnormal.config.editors import EditorConfig
from ifnormal.data import load_setup
from ifnormal.data.setups.captions import anomaly_names, judge_captions
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.kinds import load_builtin
from ifnormal.detectors.detector import in_batches
from ifnormal.evaluation.auroc import auroc
from ifnormal.evaluation.evaluate import evaluate, explanation_truth
from ifnormal.evaluation.imagenet_features import FeaturesName, features_for
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.evaluation.second_opinion import (
    OTHER_SEED,
    SecondOpinion,
    second_config,
    second_opinion,
)
from ifnormal.evaluation.truth import truth
from ifnormal.explainers.editor import make_editor
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.pixel_gradient import gradient_counterfactuals
from ifnormal.explanation.explanation import Explanation
from ifnormal.jobs.made_once import fit_on, has_labels, trained_detector, trained_judge, understood
from ifnormal.jobs.our_files import (
    CONFIG,
    DETECTOR,
    EXPLAINER,
    METRICS,
    SECOND,
    SECOND_OPINION,
    TRUTH,
    has_checkpoint,
)
from ifnormal.jobs.run_folder import (
    begin,
    clear,
    difference,
    read_config,
    require_writable,
    say_done,
    seconds,
    timed,
    update_config,
)
from ifnormal.jobs.second_opinion import MOST_ASKED, independent_of_run
from ifnormal.report import write_report

_CONTRASTED = 12


def train_detector_stage(
    run: Path,
    data: DataConfig,
    config: DetectorConfig,
    seed: int,
    facts: Mapping[str, Any] | None = None,
) -> BuiltinDetector:
    """Begin a run: train a detector on a setup. What an earlier run left in the folder goes away.

    Args:
        run: `detector/` and `config.json` go here.
        data: the setup.
        config: the detector.
        seed: of the images and the detector.
        facts: more to record.
    """
    begun = time.perf_counter()
    require_seed(seed)
    begin(run)
    for name in DATA_PATHS:  # the later stages may be run from elsewhere
        if (path := getattr(data, name)) is not None:
            data = replace(data, **{name: path.expanduser().absolute()})
    setup = load_setup(data, seed)
    clear(run, "detector")
    options = {"data": asdict(data), "detector": asdict(config), "seed": seed}
    described = {"setup": {"normal": setup.normal, **setup.facts}}
    update_config(run, {**(facts or {}), **options, **described}, fresh=True)
    with timed(run, "detector", begun):
        return trained_detector(run / "detector", setup, config, seed)


def fit_stage(
    run: Path,
    config: FitConfig,
    seed: int | None = None,
    resume: bool = False,
    choice: EditorConfig | None = None,
    diffusion: DiffusionConfig | None = None,
) -> Explainer:
    """Fit an editor to the run's detector: `explainer/`.

    Args:
        run: holds a detector.
        config: the pixel generator and its training.
        seed: of the training; by default the run's.
        resume: go on from the checkpoint, if there is one.
        choice: which editor; by default the pixel generator.
        diffusion: the settings of the editors with a diffusion model.

    Raises:
        UserError: the editor lacks something, or the fit to resume was begun with other options.
    """
    choice = choice or EditorConfig()
    diffusion = (diffusion or DiffusionConfig()).for_prompts(choice.prompt)
    begun, record = time.perf_counter(), read_config(run)
    seed = record["seed"] if seed is None else seed
    require_seed(seed)
    earlier: dict[str, None] = {name: None for name in ("editor", "diffusion") if name in record}
    editor = _editor_options(choice, diffusion)
    options = {"fit": asdict(config), "fit_seed": seed, **earlier, **editor}
    resume = resume and has_checkpoint(run / "explainer", choice.generator)
    if resume:
        _require_same_fit(run, record, options)
        begun -= seconds(run).get("fit", 0.0)
    detector, setup = _detector(run), _setup(run)
    clear(run, "explain" if resume else "fit")
    update_config(run, options)
    with timed(run, "fit", begun):
        explainer = Explainer(detector, editor=make_editor(choice, config, diffusion))
        fit_on(setup, explainer, seed, run / "explainer", resume)
        explainer.save(run / "explainer")
        speed = explainer.images_per_second  # 0 where a finished training was resumed
        if speed or not resume:
            update_config(run, {"images_per_s": speed or None})
    return explainer


def explain_stage(run: Path, second_opinion: bool = True) -> Explanation:
    """Explain the setup's test anomalies: `explanation/`.

    Args:
        run: holds a detector and an explainer.
        second_opinion: ask independent detectors about the counterfactuals of the first anomalies.
    """
    begun, target = time.perf_counter(), run / "explanation"
    explainer = _explainer(run, _detector(run))
    require_writable(target)
    setup = _setup(run)
    explanation = explainer.explain(setup.test_anomalies, anomaly_names(setup))
    with timed(run, "explain", begun):
        clear(run, "explain")
        if second_opinion:
            seed = read_config(run)["seed"]
            found = independent_of_run(run / SECOND_OPINION, explainer.detector, setup, seed)
            explanation = found.ask(explanation, MOST_ASKED)
        explanation.save(target)
    return explanation


def evaluate_stage(
    run: Path, judge_steps: int | None = None, features: FeaturesName = "auto"
) -> dict[str, Any]:
    """Measure the explanation of the test anomalies: `metrics.json`, `truth.json`, `gradient/`.

    Where nobody has labelled images to train a judge with, a second detector is trained and asked
    instead: it gives the features to measure in, but nobody says what is truly normal.

    Args:
        run: holds a detector and an explanation.
        judge_steps: of the judge's training; by default what suits the images.
        features: what FID and the like are measured in, see `features_for`.
    """
    begun, config = time.perf_counter(), read_config(run)
    detector, setup = _detector(run), _setup(run)
    network = features_for(setup, features, has_labels(setup))
    explanation = Explanation.load(run / "explanation")
    if not torch.equal(explanation.anomalies, setup.test_anomalies[: len(explanation)]):
        raise UserError(
            f"{run}/explanation is not of the run's test anomalies; "
            f"run ifnormal explain --run {run} first."
        )
    with timed(run, "evaluate", begun):
        clear(run, "evaluate")
        judge = trained_judge(run / "judge", setup, judge_steps)
        second = _second(run, setup, detector, config["seed"]) if judge is None else None
        normal_scores = in_batches(detector, setup.test_normal)
        detector_auroc = auroc(normal_scores, in_batches(detector, setup.test_anomalies))
        metrics = evaluate(
            explanation,
            normal_scores,
            setup,
            judge,
            config["seed"],
            detector_auroc,
            second=second,
            features=network,
        )
        _contrast(run, detector, explanation, setup, judge)
    metrics["wall_clock_s"] = round(sum(seconds(run).values()), 1)
    speed = config.get("images_per_s")
    metrics["images_per_s"] = None if speed is None else round(speed, 1)
    write_json(run / METRICS, metrics)
    return metrics


def report_stage(run: Path, beside: Sequence[Path] = ()) -> Path:
    """Tell the run, or whatever folder has an `explanation/`, as one page: `report.html`.

    Args:
        run: the folder.
        beside: other such folders, to be shown side by side with it.
    """
    begun = time.perf_counter()
    report = write_report(run, beside=beside)
    say_done("report", begun)
    return report


def _contrast(
    run: Path,
    detector: BuiltinDetector,
    explanation: Explanation,
    setup: AnomalySetup,
    judge: AttributeJudge | None,
) -> None:
    """Pixel-gradient counterfactuals of the first anomalies, and a judge's word on everything."""
    few = slice(0, _CONTRASTED)
    plain = gradient_counterfactuals(detector, explanation.anomalies[few], explanation.names[few])
    plain.save(run / "gradient")
    if judge is None:
        return
    predicted = judge.predict(plain.counterfactuals)
    true = {name: values[few] for name, values in setup.attributes["test_anomalies"].items()}
    judged = explanation_truth(explanation, setup, judge)
    write_json(
        run / TRUTH,
        {
            "is_normal": judged.is_normal.tolist(),
            "verdicts": judge_captions(judge.predict(explanation.counterfactuals), setup),
            "gradient_is_normal": truth(
                predicted, true, setup.normal_attributes
            ).is_normal.tolist(),
            "gradient_verdicts": judge_captions(predicted, setup),
        },
    )


def _second(run: Path, setup: AnomalySetup, detector: BuiltinDetector, seed: int) -> SecondOpinion:
    """The run's second detector, trained the first time it is needed."""
    config = second_config(detector.config)
    return second_opinion(trained_detector(run / SECOND, setup, config, seed + OTHER_SEED))


def _setup(run: Path) -> AnomalySetup:
    """The images of the run: the same ones that its detector was trained with."""
    config = read_config(run)
    with understood(run / CONFIG):
        data = data_config(config["data"])
    moved = os.environ.get("IFNORMAL_DATA")
    if data.data_root is not None and moved and not data.data_root.is_dir():
        data = replace(data, data_root=Path(moved))
    return load_setup(data, config["seed"])


def _detector(run: Path) -> BuiltinDetector:
    read_config(run)
    if not (run / "detector" / DETECTOR).exists():
        raise UserError(
            f"{run} has no detector; train one with ifnormal train-detector --run {run}."
        )
    with understood(run / "detector" / DETECTOR):
        return load_builtin(run / "detector")


def _explainer(run: Path, detector: BuiltinDetector) -> Explainer:
    if not (run / "explainer" / EXPLAINER).exists():
        raise UserError(f"{run} has no explainer; train one with ifnormal fit --run {run}.")
    with understood(run / "explainer" / EXPLAINER):
        return Explainer.load(run / "explainer", detector)


def _editor_options(choice: EditorConfig, diffusion: DiffusionConfig) -> dict[str, Any]:
    """What the record says of an editor; nothing of the pixel generator, which is the default."""
    if choice == EditorConfig():
        return {}
    if not choice.needs_backbone:
        return {"editor": asdict(choice)}
    settings = {choice.generator: asdict(getattr(diffusion, choice.generator))}
    return {"editor": asdict(choice), "diffusion": settings}


def _require_same_fit(run: Path, record: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    def counted(facts: Mapping[str, Any]) -> dict[str, Any]:
        fit = {key: value for key, value in facts["fit"].items() if key != "checkpoint_every"}
        # The editor first: it decides which of the other options count.
        editor = facts.get("editor") or json.loads(json.dumps(asdict(EditorConfig())))
        shared = {"editor": editor, "fit_seed": facts["fit_seed"]}
        return {**shared, "diffusion": facts.get("diffusion") or {}, "fit": fit}

    if "fit" not in record or "fit_seed" not in record:
        return
    changed = difference(counted(record), counted(options))
    if changed:
        raise UserError(
            f"The fit in {run} was begun with {changed}; give it the same options as then, "
            "or leave --resume out to begin anew."
        )
