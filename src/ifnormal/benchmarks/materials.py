"""What experiments are made of: setups, detectors, judges, explainers and figures of a run.

A detector, and a judge, is trained once a sweep: it lies in `shared/` under a hash of what it was
trained on and how, with a lock beside it while it is in the making.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ifnormal.benchmarks.experiment import BenchRun, Workplace
from ifnormal.benchmarks.options import Configs, configs_of
from ifnormal.benchmarks.shared import shared_detector, shared_judge
from ifnormal.data import load_setup
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.detector import Detector, in_batches
from ifnormal.evaluation import METRICS
from ifnormal.evaluation.auroc import auroc
from ifnormal.evaluation.evaluate import evaluate
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.evaluation.second_opinion import (
    OTHER_SEED,
    SecondOpinion,
    second_config,
    second_opinion,
)
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.explanation import Explanation
from ifnormal.jobs.made_once import fitted


def configs(run: BenchRun, workplace: Workplace) -> Configs:
    """Every option of a run: the setup's budget, then the run's detector, then its own options."""
    return configs_of(run, workplace.data_root)


def setup_of(run: BenchRun, workplace: Workplace) -> AnomalySetup:
    """The images of a run.

    Raises:
        UserError: there is no such setup, or its images are missing.
    """
    return load_setup(configs(run, workplace).data, run.seed)


def detector_of(run: BenchRun, workplace: Workplace, setup: AnomalySetup) -> TrainedDetector:
    """The run's detector, trained once a sweep.

    Args:
        run: its detector, seed and options.
        workplace: holds the shared detectors.
        setup: as `setup_of` has it; a detector belongs to its training images.
    """
    config = configs(run, workplace).detector
    return shared_detector(setup, config, run.seed, workplace)[0]


def judge_of(run: BenchRun, workplace: Workplace, setup: AnomalySetup) -> AttributeJudge | None:
    """The independent judge of the run's images; None where nobody knows what they show."""
    found = shared_judge(setup, configs(run, workplace).judge_steps, workplace)
    return None if found is None else found[0]


def second_of(run: BenchRun, workplace: Workplace, setup: AnomalySetup) -> SecondOpinion:
    """A detector of another objective and seed; where there is no judge, figures need its features.

    Args:
        run: its detector, seed and options are those of the first one.
        workplace: holds the shared detectors.
        setup: as `setup_of` has it.
    """
    config = second_config(configs(run, workplace).detector)
    return second_opinion(shared_detector(setup, config, run.seed + OTHER_SEED, workplace)[0])


def explainer_of(run: BenchRun, folder: Path, setup: AnomalySetup, detector: Detector) -> Explainer:
    """The explainer in the run's folder: as it was saved, or fitted, going on from a checkpoint.

    Args:
        run: its options decide how it is fitted.
        folder: of the run; the explainer is in `explainer/`.
        setup: the images.
        detector: any detector, a built-in one or not.
    """
    config = configs(run, Workplace(folder.parent)).fit
    return fitted(folder / "explainer", config, run.seed, setup, detector)


def measured(
    run: BenchRun,
    explanation: Explanation,
    setup: AnomalySetup,
    detector: Detector,
    judge: AttributeJudge | None,
    second: SecondOpinion | None = None,
) -> dict[str, Any]:
    """Every figure of an explanation of the setup's first test anomalies; None where unknown."""
    normal = in_batches(detector, setup.test_normal)
    of_detector = auroc(normal, in_batches(detector, setup.test_anomalies))
    figures = evaluate(explanation, normal, setup, judge, run.seed, of_detector, second=second)
    return {**dict.fromkeys(METRICS), **figures}
