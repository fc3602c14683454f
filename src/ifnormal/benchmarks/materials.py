"""Materials of a run: setup, detector, judge and explainer; its explanation, figures and pictures.

The runs of a sweep share detectors and judges; the explainer lies in the folder of its run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ifnormal.benchmarks.experiment import BenchRun, Workplace
from ifnormal.benchmarks.options import configs_of
from ifnormal.benchmarks.pictures import write_preview
from ifnormal.benchmarks.shared import Shared, shared_backbone, shared_detector, shared_judge
from ifnormal.common.storage import write_json
from ifnormal.config.editors import EDITORS, EditorConfig
from ifnormal.data import load_setup
from ifnormal.data.setups.captions import anomaly_names, judge_captions
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.detector import Detector, in_batches
from ifnormal.evaluation import METRICS
from ifnormal.evaluation.auroc import auroc
from ifnormal.evaluation.evaluate import Part, evaluate, explanation_truth
from ifnormal.evaluation.imagenet_features import features_for
from ifnormal.evaluation.independent_detectors import IndependentDetectors
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.evaluation.second_opinion import (
    OTHER_SEED,
    SecondOpinion,
    second_config,
    second_opinion,
)
from ifnormal.explainers.editor import Editor, make_editor
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.explanation import Explanation
from ifnormal.jobs.made_once import fitted
from ifnormal.jobs.our_files import SECOND_OPINION
from ifnormal.jobs.second_opinion import independent_of_run
from ifnormal.report import write_report

# Anomalies with traversals and in the saved explanation; all of them are measured.
KEPT = 24
_BACKBONE_SEED = 0


class Materials:
    """What a run works with. Each part is loaded or made when it is first asked for.

    A part may be replaced by assignment, before the parts that depend on it are asked for.

    Args:
        run: setup, detector, seed and options.
        folder: of the run; the explainer is in its `explainer/`.
        workplace: holds shared detectors and judges, and knows where the data sets are.
        load: seed -> the images, for runs whose setup is not registered.

    Attributes:
        options: all options of the run.
        prompts: what normal images are called, for a diffusion model; () leaves it to the model.
        shared: "detector", "judge" and "backbone" -> where it lies and how long its training took,
            once it was asked for.
    """

    def __init__(
        self,
        run: BenchRun,
        folder: Path,
        workplace: Workplace,
        load: Callable[[int], AnomalySetup] | None = None,
    ) -> None:
        self.run, self.folder, self.workplace = run, folder, workplace
        self.options = configs_of(run, workplace.data_root)
        self._load = load or partial(load_setup, self.options.data)
        self.prompts: tuple[str, ...] = ()
        self.shared: dict[str, Shared] = {}

    @cached_property
    def setup(self) -> AnomalySetup:
        """The images.

        Raises:
            UserError: there is no such setup, or its images are missing.
        """
        return self._load(self.run.seed)

    @cached_property
    def detector(self) -> Detector:
        """The detector that is explained."""
        config, seed = self.options.detector, self.run.seed
        detector, self.shared["detector"] = shared_detector(
            self.setup, config, seed, self.workplace
        )
        return detector

    @cached_property
    def judge(self) -> AttributeJudge | None:
        """The independent judge; None where it is unknown what the images show."""
        found = shared_judge(self.setup, self.options.judge_steps, self.workplace)
        if found is None:
            return None
        judge, self.shared["judge"] = found
        return judge

    @cached_property
    def second(self) -> SecondOpinion:
        """A detector of another objective and seed; figures without a judge need its features."""
        config, seed = second_config(self.options.detector), self.run.seed + OTHER_SEED
        return second_opinion(shared_detector(self.setup, config, seed, self.workplace)[0])

    @cached_property
    def independent(self) -> IndependentDetectors:
        """Detectors of other kinds, whom to ask about the counterfactuals."""
        folder = self.folder / SECOND_OPINION
        return independent_of_run(folder, self.detector, self.setup, self.run.seed)

    @cached_property
    def explainer(self) -> Explainer:
        """The explainer, loaded from the folder of the run or fitted there."""
        folder = self.folder / "explainer"
        return fitted(folder, self.make_editor, self.run.seed, self.setup, self.detector)

    def make_editor(self) -> Editor:
        """A new editor of the run's generator, not fitted yet."""
        backbone = None if self.backbone is None else str(self.backbone)
        choice = EditorConfig(self.run.generator, backbone, self.prompts)
        return make_editor(choice, self.options.fit, self.options.diffusion)

    @cached_property
    def backbone(self) -> Path | None:
        """Folder of the diffusion model, None of a generator without one.

        All seeds share it, as they would share one of the hub.
        """
        if not EDITORS[self.run.generator].needs_backbone:
            return None
        assert self.options.backbone is not None
        images, config = self._load(_BACKBONE_SEED), self.options.backbone
        shared = shared_backbone(images, config, _BACKBONE_SEED, self.workplace)
        self.shared["backbone"] = shared
        return (shared.folder / "backbone").absolute()

    def explain(self, most: int | None = None) -> Explanation:
        """Explain the test anomalies of the setup, or the first ones."""
        anomalies = self.setup.test_anomalies[:most]
        names = anomaly_names(self.setup)[: len(anomalies)]
        return self.explainer.explain(anomalies, names, traversals=KEPT)

    def figures(
        self, explanation: Explanation, second: SecondOpinion | None = None, part: Part = "test"
    ) -> dict[str, Any]:
        """All figures of an explanation of the setup's first anomalies; None where unknown.

        Args:
            explanation: of the test anomalies, or of the validation anomalies.
            second: the second detector, where its opinion is wanted.
            part: which images it is of.
        """
        setup, detector = self.setup, self.detector
        normal = in_batches(detector, getattr(setup, f"{part}_normal"))
        of_detector = auroc(normal, in_batches(detector, getattr(setup, f"{part}_anomalies")))
        features = features_for(setup, has_judge=self.judge is not None)
        figures = evaluate(
            explanation,
            normal,
            setup,
            self.judge,
            self.run.seed,
            of_detector,
            part,
            second,
            features,
        )
        return {**dict.fromkeys(METRICS), **figures, "anomalies": len(explanation)}

    def save(self, explanation: Explanation, figures: dict[str, Any]) -> None:
        """Write `preview.png`, `explanation/` of the first anomalies and `report.html`.

        With a judge, `truth.json` says what it sees in the counterfactuals.
        """
        write_preview(self.folder / "preview.png", explanation)
        kept = explanation.select(range(min(KEPT, len(explanation))))
        kept.save(self.folder / "explanation")
        if self.judge is not None:
            is_normal = explanation_truth(kept, self.setup, self.judge).is_normal.tolist()
            seen = judge_captions(self.judge.predict(kept.counterfactuals), self.setup)
            write_json(self.folder / "truth.json", {"is_normal": is_normal, "verdicts": seen})
        write_report(self.folder, metrics=figures)
