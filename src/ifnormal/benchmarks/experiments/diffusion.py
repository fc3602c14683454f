"""Edits by diffusion models beside the pixel generator's: valid, true, small, different, cheap."""

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
from ifnormal.benchmarks.options import backbone_options
from ifnormal.benchmarks.summary import grouped, rows
from ifnormal.config.editors import EDITORS

if TYPE_CHECKING:
    from ifnormal.benchmarks.materials import Materials
    from ifnormal.data.setups.setup import AnomalySetup
    from ifnormal.explainers.explainer import Explainer
    from ifnormal.explanation.explanation import Explanation

NAME = "diffusion"
# The first so many test anomalies, the same for every method.
ANOMALIES = 128
_FOLLOWED = 8
_SETUPS = ("gtsrb/speed-limits", "cifar10/one-vs-rest/ship", "inn/n02279972")
PIPELINE = "pipeline"
_HARD = {"diffusion.diffedit.mask.soft": False}
# Variant -> its name in the table, the generator, and options.
METHODS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "pixel": ("pixel generator", "pixel", {}),
    "diffedit-3.0": (
        "DiffEdit, threshold 3.0",
        "diffedit",
        {**_HARD, "diffusion.diffedit.mask.threshold": 3.0},
    ),
    "diffedit-1.5": (
        "DiffEdit, threshold 1.5",
        "diffedit",
        {**_HARD, "diffusion.diffedit.mask.threshold": 1.5},
    ),
    PIPELINE: ("DiffEdit of diffusers, threshold 3.0", "diffedit", {}),
    "latent": ("latent generator", "latent", {}),
    "inversion": ("inversion editor", "inversion", {}),
    "inversion-guided": (
        "inversion editor with the detector's guidance",
        "inversion",
        {"diffusion.inversion.detector_guidance": 0.03},
    ),
    "inversion-one": ("inversion editor, one prompt", "inversion", {}),
    "inversion-alone": (
        "inversion editor, one prompt, without repulsion",
        "inversion",
        {"diffusion.inversion.repulsion": 0.0},
    ),
}
# These ask all concepts for the same; where one class is normal, the inversion editor does anyway.
_ONE_PROMPT, OF_SEVERAL = ("inversion-one", "inversion-alone"), ("gtsrb",)
COLUMNS = {
    "valid": "valid, %",
    "valid_and_true": "valid and truly normal, %",
    "second_detector_agrees": "accepted by a second detector, %",
    "l1": "mean absolute change",
    "perceptual_distance": "perceptual distance",
    "fid_n": "FID_N, %",
    "kid": "KID × 1000",
    "distinct": "distinct normal classes of K",
    "as_named": "of the class it is named after, %",
    "core_ms": "core-ms an edit",
    "unet_calls": "U-net calls an image",
}
_NOTES = (
    f"The first {ANOMALIES} test anomalies, those that the detector flags; the backbone was "
    "trained on normal images and outlier exposure, and has met none of their classes.",
    "Valid: the detector's score is not above its threshold. Truly normal: the judge, a classifier "
    "of all classes, calls the edit a normal one. Distinct: how many different normal classes the "
    "judge sees among the valid and truly normal of the K edits of an image, mean over the images "
    "that have any; the judge of photographs of one normal class can see only one.",
    "Of the class it is named after: where each concept is asked for another normal class, such as "
    "“Speed limit (30km/h)”, the share of the valid and truly normal edits that the judge takes "
    "for that very class. Without “one prompt” the inversion editor asks for those classes whose "
    "edits of outliers the detector accepts most often.",
    "All seeds share the diffusion model; the detectors, the sample of "
    "outliers, what is trained besides and all noise are each seed's own.",
    "FID_N, KID, the perceptual distance and the second detector are of all the anomalies, the few "
    "that the detector does not flag among them.",
    "The inversion editor asks the detector whether its edits are accepted, and edits once more, "
    "bolder, where one is not; the other methods edit once. U-net calls are those of the first "
    "time.",
    "Core-ms: processor time of an edit without any training.",
)


def _plan(selection: Selection) -> list[BenchRun]:
    setups = [one for one in _SETUPS if selection.takes(one)]
    return [
        BenchRun(
            NAME,
            setup,
            detector,
            seed,
            variant,
            selection.budget,
            {"fit.concepts": 4, **backbone_options(setup), **options},
            generator=generator,
        )
        for setup in setups
        for seed in selection.seeds
        for detector in selection.detectors or ("bce",)
        for variant, (_, generator, options) in METHODS.items()
        if generator in (selection.generators or EDITORS)
        if variant != "inversion-one" or setup.startswith(OF_SEVERAL)
    ]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.materials import Materials

    made = Materials(run, folder, workplace)
    assert made.judge is not None
    explanation, more = _explained(made)
    figures = {**made.figures(explanation, made.second), **more}
    asked = asked_classes(explanation.facts.get("prompts", ()), made.setup)
    figures |= of_flagged(explanation, made.setup, made.judge, asked)
    made.save(explanation, figures)
    return figures


def of_flagged(
    explanation: Explanation, setup: AnomalySetup, judge: Any, asked: Sequence[int] | None = None
) -> dict[str, Any]:
    """Figures of the edits of flagged images alone: nobody asks about the others.

    Args:
        explanation: of the setup's first test anomalies.
        setup: knows what is normal.
        judge: sees what the edits show.
        asked: the class that each concept was asked for, if any.
    """
    import torch

    from ifnormal.evaluation.evaluate import explanation_truth

    flagged = explanation.flagged
    if not flagged.any():
        return {"flagged": 0}
    accepted = explanation.valid[flagged]
    is_normal = explanation_truth(explanation, setup, judge).is_normal[flagged]
    good = accepted & is_normal
    edits = explanation.counterfactuals[flagged]
    before = explanation.anomalies[flagged][:, None]
    classes = next(iter(judge.predict(edits).values()))
    seen = [len(row[ok].unique()) for row, ok in zip(classes, good, strict=True) if ok.any()]
    kept = None if asked is None else (classes.cpu() == torch.tensor(asked))[good.cpu()]
    return {
        "valid": 100 * accepted.double().mean().item(),
        "valid_and_true": 100 * good.double().mean().item(),
        "l1": (edits.double() - before.double()).abs().mean().item() / 255,
        "distinct": sum(seen) / len(seen) if seen else None,
        "as_named": 100 * kept.double().mean().item() if kept is not None and len(kept) else None,
        "flagged": int(flagged.sum()),
    }


def asked_classes(prompts: Sequence[str], setup: AnomalySetup) -> list[int] | None:
    """The classes that prompts name, by the judge's numbers; None unless they name several."""
    words = next(iter(setup.attribute_names.values()), ())
    if len(set(prompts)) < 2 or not set(prompts) <= set(words):
        return None
    return [words.index(prompt) for prompt in prompts]


def _explained(made: Materials) -> tuple[Explanation, dict[str, Any]]:
    """The run's edits, and what they cost."""
    import time

    from ifnormal.data.setups.captions import anomaly_names
    from ifnormal.explainers.diffusion.editor import DiffusionEditor

    anomalies = made.setup.test_anomalies[:ANOMALIES]
    names = anomaly_names(made.setup)[: len(anomalies)]
    if made.run.variant in _ONE_PROMPT:
        made.prompts = (made.setup.normal,)
    if made.run.variant == PIPELINE:
        made.explainer = _by_pipeline(made)
    explainer = made.explainer
    begun = time.process_time()
    explanation = explainer.explain(anomalies, names, traversals=0)
    spent = time.process_time() - begun
    followed = explainer.explain(anomalies[:_FOLLOWED], names[:_FOLLOWED], traversals=_FOLLOWED)
    explanation = replace(
        explanation,
        traversals=followed.traversals,
        traversal_targets=followed.traversal_targets,
        calibrated_traversal_scores=followed.calibrated_traversal_scores,
        own_traversal_scores=followed.own_traversal_scores,
    )
    editor, edits = explainer.editor, len(anomalies) * explanation.concepts
    calls = editor.unet_calls if isinstance(editor, DiffusionEditor) else 0
    return explanation, {"core_ms": 1000 * spent / edits, "unet_calls": calls}


def _by_pipeline(made: Materials) -> Explainer:
    """An explainer whose edits are made by the pipeline of diffusers."""
    from ifnormal.benchmarks.diffusers_pipeline import PipelineEditor
    from ifnormal.explainers.diffusion.loading import load_backbone, suited_precision
    from ifnormal.explainers.explainer import Explainer
    from ifnormal.jobs.made_once import fit_on

    assert made.options.diffusion is not None
    assert made.backbone is not None
    backbone = load_backbone(made.backbone, suited_precision())
    editor = PipelineEditor(backbone, made.options.diffusion.diffedit)
    explainer = Explainer(made.detector, editor=editor)
    return fit_on(made.setup, explainer, made.run.seed, made.folder)


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    """One table a setup, one row a method."""
    setups = grouped(plan, lambda run: run.setup)
    return [_table(setup, runs, finished) for setup, runs in setups.items()]


def _table(setup: str, plan: Sequence[BenchRun], finished: Sequence[Finished]) -> Table:
    def name(run: BenchRun) -> str:
        return METHODS[run.variant][0]

    made = rows(plan, finished, COLUMNS, name, absent="does not apply")
    return Table(f"Edits on {setup}", list(COLUMNS.values()), made, _NOTES)


def _figures(finished: Sequence[Finished], folder: Path) -> list[Path]:
    """For each setup and seed, the first anomalies with the counterfactuals of each method."""
    from ifnormal.explanation.explanation import Explanation

    pictures = []
    for setup, seed in dict.fromkeys((one.run.setup, one.run.seed) for one in finished):
        methods = {
            METHODS[one.run.variant][0]: Explanation.load(one.folder / "explanation")
            for one in finished
            if (one.run.setup, one.run.seed) == (setup, seed)
        }
        path = folder / f"{setup.replace('/', '-')}-seed{seed}.png"
        pictures.append(write_methods(path, methods))
    return pictures


def write_methods(path: Path, methods: Mapping[str, Explanation], rows: int = 10) -> Path:
    """Write a PNG: the first anomalies, and the counterfactuals of each method.

    Args:
        path: of the PNG.
        methods: heading -> explanation, all of the same anomalies in the same order.
        rows: the most anomalies that are shown.
    """
    from ifnormal.benchmarks.pictures import decided, write_grid

    first = next(iter(methods.values()))
    count = min(rows, *map(len, methods.values()))
    before = zip(first.anomalies[:count], first.calibrated_scores_before[:count], strict=True)
    groups = [("anomaly", [decided(image[None], score[None], first) for image, score in before])]
    for heading, one in methods.items():
        edits = zip(one.counterfactuals[:count], one.calibrated_scores_after[:count], strict=True)
        groups.append((heading, [decided(*row, one) for row in edits]))
    return write_grid(path, groups, side=64)


EXPERIMENT = Experiment(
    name=NAME,
    title="Edits by diffusion models: DiffEdit, a latent generator, and inversion, beside pixels",
    source="the paper's second generator; Couairon et al., ICLR 2023; ifnormal",
    plan=_plan,
    perform=_perform,
    tables=_tables,
    figures=_figures,
    headline=("valid_and_true", "l1", "distinct"),
)
