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
from ifnormal.benchmarks.summary import grouped, rows

if TYPE_CHECKING:
    from ifnormal.benchmarks.materials import Materials
    from ifnormal.data.setups.setup import AnomalySetup
    from ifnormal.explainers.diffusion.latent_backbone import LatentBackbone
    from ifnormal.explanation.explanation import Explanation

NAME = "diffusion"
# The first so many test anomalies, the same for every method.
ANOMALIES = 128
_FOLLOWED = 8
# A diffusion model is given, as one from the hub would be: seeds share it.
_BACKBONE_SEED = 0
_SETUPS = ("gtsrb/speed-limits", "cifar10/one-vs-rest/ship", "inn/n02279972")
# Every run says how its backbone is trained and how many edits there are of an image.
_SHARED = {"backbone.steps": 2500, "fit.concepts": 4}
_BUDGETS: Mapping[str, Mapping[str, Any]] = {
    "gtsrb": {},
    "cifar10": {"backbone.steps": 2500, "backbone.autoencoder_steps": 1200},
    "inn": {
        "backbone.steps": 1500,
        "backbone.autoencoder_steps": 700,
        "backbone.autoencoder_batch_size": 32,
        "backbone.autoencoder_widths": [32, 64, 64],
    },
}
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
    "pipeline": ("DiffEdit of diffusers, threshold 3.0", "pipeline", {}),
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
    f"All seeds share the diffusion model of seed {_BACKBONE_SEED}; the detectors, the sample of "
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
            {**_SHARED, **_BUDGETS[setup.split("/")[0]], **options},
        )
        for setup in setups
        for seed in selection.seeds
        for detector in selection.detectors or ("bce",)
        for variant, (_, _, options) in METHODS.items()
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
        "as_named": None if kept is None else 100 * kept.double().mean().item(),
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

    anomalies = made.setup.test_anomalies[:ANOMALIES]
    names = anomaly_names(made.setup)[: len(anomalies)]
    pixel = METHODS[made.run.variant][1] == "pixel"
    explainer, calls = (made.explainer, 0) if pixel else _latent_explainer(made)
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
    edits = len(anomalies) * explanation.concepts
    return explanation, {"core_ms": 1000 * spent / edits, "unet_calls": calls}


def _latent_explainer(made: Materials) -> tuple[Any, int]:
    """The explainer of a method with a diffusion model, and its calls of the U-net an image."""
    from ifnormal.benchmarks.diffusers_pipeline import PipelineExplainer
    from ifnormal.explainers.diffusion.editor import DiffusionEditor
    from ifnormal.explainers.diffusion.latent_explainer import LatentExplainer
    from ifnormal.explainers.diffusion.prompts import source_of

    run, setup, method = made.run, made.setup, METHODS[made.run.variant][1]
    assert made.options.diffusion is not None
    backbone = _backbone(made)
    if method == "pipeline":
        words = setup.normal, source_of(None, backbone)
        config = made.options.diffusion.diffedit
        return PipelineExplainer(made.detector, backbone, config, *words), 0
    config = getattr(made.options.diffusion, method)
    named = method == "inversion" and run.variant not in _ONE_PROMPT
    explainer = LatentExplainer(made.detector, backbone, config, [] if named else [setup.normal])
    folder = made.folder / "explainer"
    explainer.fit(setup.train_normal, setup.outliers, run.seed, folder, resume=True)
    assert isinstance(explainer.editor, DiffusionEditor)
    return explainer, explainer.editor.unet_calls


def _backbone(made: Materials) -> LatentBackbone:
    """The diffusion model of a setup, trained once a sweep."""
    from ifnormal.benchmarks.shared import shared_backbone
    from ifnormal.data import load_setup
    from ifnormal.explainers.diffusion.loading import load_backbone, suited_precision

    config, seed = made.options.backbone, _BACKBONE_SEED
    assert config is not None
    setup = load_setup(made.options.data, seed)
    shared = shared_backbone(setup, config, seed, made.workplace)
    return load_backbone(shared.folder / "backbone", suited_precision())


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
