"""Section 5.3: a classifier that only knew blue anomalies, beside one with outlier exposure.

Both are binary classifiers of the same network on Colored-MNIST. The one is trained on normal
images and outlier exposure, the other, "supervised", on normal images and true anomalies, but only
blue ones. It has learned that blue is anomalous; counterfactuals show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifnormal.benchmarks.experiment import (
    BenchRun,
    Experiment,
    Finished,
    Selection,
    Table,
    Workplace,
)
from ifnormal.benchmarks.summary import rows, with_generator

if TYPE_CHECKING:
    from torch import Tensor

    from ifnormal.data.setups.setup import AnomalySetup

_SETUP, _DETECTOR = "cmnist/one+cyan", "bce"
EXPOSED, SUPERVISED = "outlier exposure", "supervised on blue"
_SEEN = "blue"
# A tenth of the labelled blue ones calibrate the detector.
_HELD_OUT = 10

_PAPER = {EXPOSED: 98.0, SUPERVISED: 75.0}


def _plan(selection: Selection) -> list[BenchRun]:
    if not selection.takes(_SETUP, _DETECTOR):
        return []
    return [
        BenchRun("bias", _SETUP, _DETECTOR, seed, variant, selection.budget, generator=generator)
        for generator in selection.each_generator
        for variant in (EXPOSED, SUPERVISED)
        for seed in selection.seeds
    ]


def supervised_on(setup: AnomalySetup, color: str) -> AnomalySetup:
    """The setup with true anomalies of one colour in place of outlier exposure.

    They are drawings of the training part; no test drawing is among them.
    """
    digits, colors = setup.judge_attributes["digit"], setup.judge_attributes["color"]
    assert setup.judge_images is not None
    is_one = sum(digits == digit for digit in setup.normal_attributes["digit"]) > 0
    painted = colors == setup.attribute_names["color"].index(color)
    anomalies = setup.judge_images[painted & ~is_one]
    held_out = len(anomalies) // _HELD_OUT
    facts = {**setup.facts, "outlier_source": f"{len(anomalies)} {color} anomalies of known class"}
    return replace(
        setup,
        outliers=anomalies[held_out:],
        validation_outliers=anomalies[:held_out],
        facts=facts,
    )


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.materials import Materials

    made = Materials(run, folder, workplace)
    judge = made.judge  # of the setup as it is, so that both variants have the same one
    assert judge is not None
    if run.variant == SUPERVISED:
        made.setup = supervised_on(made.setup, _SEEN)
    explanation = made.explain()
    figures = made.figures(explanation)
    made.save(explanation, figures)
    return {**figures, **_by_color(explanation, made.setup, made.detector, judge)}


def _by_color(explanation: Any, setup: AnomalySetup, detector: Any, judge: Any) -> dict[str, Any]:
    """Detection and true normality, of anomalies in the colour that was seen and in all others."""
    from ifnormal.detectors.detector import in_batches
    from ifnormal.evaluation.auroc import auroc
    from ifnormal.evaluation.evaluate import explanation_truth

    normal = in_batches(detector, setup.test_normal)
    blue = setup.attribute_names["color"].index(_SEEN)
    is_seen = setup.attributes["test_anomalies"]["color"][: len(explanation)] == blue
    is_normal = explanation_truth(explanation, setup, judge).is_normal
    found: dict[str, Any] = {}
    for name, part in (("seen", is_seen), ("unseen", ~is_seen)):
        found[f"detector_auroc_{name}"] = auroc(normal, explanation.calibrated_scores_before[part])
        found[f"truly_normal_{name}"] = _share(is_normal[part])
        # Of those only that the detector flags: what it does not flag, nobody asks about.
        flagged = part & (explanation.calibrated_scores_before > explanation.calibrated_threshold)
        found[f"truly_normal_flagged_{name}"] = _share(is_normal[flagged])
    return found


def _share(verdicts: Tensor) -> float | None:
    return 100 * verdicts.double().mean().item() if verdicts.numel() else None


_COLUMNS: Mapping[str, str] = {
    "detector_auroc": "detector AuROC",
    "detector_auroc_seen": "AuROC, blue",
    "detector_auroc_unseen": "AuROC, other colours",
    "truly_normal_seen": "truly normal, blue",
    "truly_normal_unseen": "truly normal, other colours",
    "normality_auroc": "normality AuROC",
    "validity": "valid",
}


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    def paper(key: str, run: BenchRun) -> float | None:
        return _PAPER[run.variant] if key == "detector_auroc" else None

    return [
        Table(
            "Classifier bias: what a supervised detector learned from blue anomalies alone",
            list(_COLUMNS.values()),
            rows(plan, finished, _COLUMNS, with_generator(plan, lambda run: run.variant), paper),
            (
                "All in %. Truly normal: an independent judge calls the counterfactual a one or a "
                "cyan digit, mean over the concepts. Blue is the colour that the supervised "
                "detector was trained to flag; it has never seen anomalies in other colours.",
            ),
        )
    ]


EXPERIMENT = Experiment(
    "bias",
    "A supervised classifier that only knew blue anomalies, beside outlier exposure",
    "section 5.3 of the paper",
    _plan,
    _perform,
    _tables,
    headline=("detector_auroc", "truly_normal"),
)
