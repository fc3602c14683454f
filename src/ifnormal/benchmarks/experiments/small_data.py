"""A few hundred normal images and nothing else: bottles, screws and road signs."""

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
from ifnormal.evaluation import METRICS

if TYPE_CHECKING:
    from torch import Tensor

    from ifnormal.data.setups.setup import AnomalySetup

NAME = "small-data"
_SIGNS = "gtsrb/speed-limits"
_SIGN_COUNT, _OUTLIERS = 500, 2000
# Setup -> options in place of its card's. The screws have half the steps of the bottles.
_SETUPS: Mapping[str, Mapping[str, Any]] = {
    "mvtec/bottle": {"detector.flip": "none", "detector.turn": 4.0, "fit.steps": 1000},
    "mvtec/screw": {"detector.steps": 600, "fit.steps": 400},
    _SIGNS: {
        "data.test_images": 400,
        "detector.steps": 600,
        # A tenth of the held-out speed limits scores as high as any other sign.
        "detector.false_alarm_rate": 0.2,
        "fit.steps": 700,
    },
}
_KEYS = ("detector_auroc", "validity", "second_detector_auroc", "second_detector_agrees", "fid_n")
_COLUMNS = {
    **{key: METRICS[key].heading if key in METRICS else key for key in _KEYS},
    "second_detector_auroc": "AuROC of the second detector, %",
    "second_detector_before": "it accepts the anomaly, %",
    "flagged_anomalies": "flagged anomalies, %",
    "flagged_normal": "flagged normal images, %",
    "changed_pixels": "changed pixels, %",
    "sharpness": "detail left elsewhere, %",
    "edit_inside": "edit at the defect, %",
    "area_inside": "its share of the image, %",
    "edit_auroc": "pixel AuROC of the edit, %",
}
_NOTES = (
    "The detector is trained on normal images and on synthetic outliers made of them; signs: 500 "
    "speed limits. The anomalies that it flags are explained.",
    "Validity is the word of the detector itself. The second detector has another objective and "
    "seed, and the generator never met it. Changed pixels: visibly, by more than 25 of 255. Detail "
    "left elsewhere: of the fine detail where nothing visibly changed; below 100 the edit blurs.",
    "At the defect: share of the squared change within 4 pixels of the annotated defect.",
)


def _plan(selection: Selection) -> list[BenchRun]:
    return [
        BenchRun(
            NAME,
            setup,
            detector,
            seed,
            budget=selection.budget,
            options=options,
            generator=generator,
        )
        for seed in selection.seeds
        for generator in selection.each_generator
        for detector in selection.detectors or ("bce",)
        for setup, options in _SETUPS.items()
        if selection.takes(setup)
    ]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.materials import Materials
    from ifnormal.benchmarks.options import configs_of
    from ifnormal.benchmarks.pictures import write_columns
    from ifnormal.data import load_setup
    from ifnormal.detectors.detector import in_batches
    from ifnormal.evaluation.auroc import auroc

    def load(seed: int) -> AnomalySetup:
        setup = load_setup(configs_of(run, workplace.data_root).data, seed)
        return few_normal(setup, seed) if run.setup == _SIGNS else setup

    made = Materials(run, folder, workplace, load)
    made.judge = None
    setup, detector = made.setup, made.detector
    normal, scores = (in_batches(detector, i) for i in (setup.test_normal, setup.test_anomalies))
    flagged = scores > detector.threshold
    made.setup = only(setup, flagged)
    explanation = made.explain()
    before, edits = explanation.anomalies, explanation.counterfactuals
    figures = {
        **made.figures(explanation, made.second),
        "detector_auroc": auroc(normal, scores),
        "second_detector_before": _percent(
            made.second.scores(before) <= made.second.detector.threshold
        ),
        "flagged_anomalies": _percent(flagged),
        "flagged_normal": _percent(normal > detector.threshold),
        **_of_edits(before, edits, made.setup.test_masks),
    }
    made.save(explanation, figures)
    columns = {"anomaly": before}
    for k in range(explanation.concepts):
        change = (edits[:, k].int() - before.int() + 128).clamp(0, 255).byte()
        columns |= {f"edit {k}": edits[:, k], f"change {k}": change}
    write_columns(folder / "changes.png", columns)
    return figures


def few_normal(setup: AnomalySetup, seed: int) -> AnomalySetup:
    """The setup with 500 normal images, and outliers that are synthetic, made of them."""
    import torch

    from ifnormal.data.sampling import generator
    from ifnormal.data.synthetic import made_outliers, synthetic_outliers

    normal = setup.train_normal
    order = torch.randperm(len(normal), generator=generator(0, "few normal images"))
    held_out = _SIGN_COUNT // 8
    validation, train = normal[order[:held_out]], normal[order[held_out:_SIGN_COUNT]]
    made = made_outliers(train, _OUTLIERS, seed)
    spoilt = synthetic_outliers(validation, _OUTLIERS // 10, seed + 1)
    return replace(
        setup,
        train_normal=train,
        validation_normal=validation,
        validation_anomalies=spoilt,
        outliers=made.images,
        outlier_sources=made.sources,
        validation_outliers=spoilt,
        facts={**setup.facts, "outlier_source": "synthetic"},
    )


def only(setup: AnomalySetup, chosen: Tensor) -> AnomalySetup:
    """The setup with those test anomalies alone for which `chosen` (N,) is true."""
    known = {name: values[chosen] for name, values in setup.attributes["test_anomalies"].items()}
    masks = None if setup.test_masks is None else setup.test_masks[chosen]
    return replace(
        setup,
        test_anomalies=setup.test_anomalies[chosen],
        attributes={"test_anomalies": known},
        test_masks=masks,
    )


def _of_edits(before: Tensor, edits: Tensor, masks: Tensor | None) -> dict[str, list[float] | None]:
    """Figures of what the edits (N, K, C, H, W) visibly change, one a concept."""
    from ifnormal.benchmarks.visible_change import changed_pixels, localisation, sharpness

    each = [
        {
            "changed_pixels": changed_pixels(before, edited),
            "sharpness": sharpness(before, edited),
            **({} if masks is None else localisation(before, edited, masks)),
        }
        for edited in edits.unbind(1)
    ]
    return {name: [one[name] for one in each] for name in each[0]}


def _percent(which: Tensor) -> float:
    return 100 * which.double().mean().item()


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    label = with_generator(plan, lambda run: f"{run.setup}, {run.detector.upper()}")
    made = rows(plan, finished, _COLUMNS, label, absent="does not apply")
    return [Table("A few hundred normal images", list(_COLUMNS.values()), made, _NOTES)]


EXPERIMENT = Experiment(
    name=NAME,
    title="A few hundred normal images and synthetic outliers: bottles, screws and road signs",
    source="ifnormal",
    plan=_plan,
    perform=_perform,
    tables=_tables,
    headline=("validity", "second_detector_agrees"),
)
