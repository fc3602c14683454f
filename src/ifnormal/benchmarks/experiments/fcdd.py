"""FCDD as a detector, and its heatmap beside others: how well each tells where a defect is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifnormal.benchmarks.experiment import (
    BenchRun,
    Cell,
    Experiment,
    Finished,
    Selection,
    Table,
    Workplace,
)
from ifnormal.benchmarks.summary import rows, summary
from ifnormal.benchmarks.usable_heatmaps import TITLES

if TYPE_CHECKING:
    from torch import Tensor

    from ifnormal.data.setups.setup import AnomalySetup
    from ifnormal.detectors.detector import Detector

NAME = "fcdd"
_INDUSTRIAL = ("mvtec/screw", "mvtec/bottle")
_CLASSES = tuple(
    f"cifar10/one-vs-rest/{name}"
    for name in (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    )
)
# What the detector knows of anomalies, beside what the card says.
_VARIANTS: dict[str, dict[str, Any]] = {
    "synthetic": {},
    "confetti": {"detector.confetti": 1.0},
    "5 masks": {"data.labelled": 5},
}
# Without masks nothing can be measured of them, and there are none to train with.
_HAVE_MASKS = ("mvtec/screw",)
_PAPER_CLASSES = 95.0
_SHOWN = 10


def _plan(selection: Selection) -> list[BenchRun]:
    def runs(setup: str, seed: int) -> list[BenchRun]:
        if setup not in _INDUSTRIAL:
            return [
                BenchRun(NAME, setup, detector, seed, budget=selection.budget)
                for detector in selection.detectors or ("fcdd",)
            ]
        return [
            BenchRun(NAME, setup, detector, seed, variant, selection.budget, options)
            for detector in selection.detectors or ("fcdd",)
            for variant, options in _VARIANTS.items()
            if setup in _HAVE_MASKS or "data.labelled" not in options
        ]

    chosen = [one for one in _INDUSTRIAL + _CLASSES if fnmatchcase(one, selection.only or "*")]
    return [run for seed in selection.seeds for setup in chosen for run in runs(setup, seed)]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.materials import Materials
    from ifnormal.detectors.detector import in_batches
    from ifnormal.evaluation.auroc import auroc

    begun = time.perf_counter()
    made = Materials(run, folder, workplace)
    setup, detector = made.setup, made.detector
    normal = in_batches(detector, setup.test_normal)
    scores = in_batches(detector, setup.test_anomalies)
    figures: dict[str, Any] = {"detector_auroc": auroc(normal, scores)}
    if run.setup in _INDUSTRIAL:
        figures |= _of_heatmaps(run, folder, setup, detector)
    else:
        _show(folder, setup, detector)
    return {**figures, "wall_clock_s": time.perf_counter() - begun}


def _of_heatmaps(
    run: BenchRun, folder: Path, setup: AnomalySetup, detector: Detector
) -> dict[str, Any]:
    """Pixel AuROC of each method over all test images, None of those that cannot be had."""
    import torch

    from ifnormal.benchmarks.pixel_auroc import pixel_auroc
    from ifnormal.benchmarks.usable_heatmaps import usable_heatmaps

    figures: dict[str, Any] = {f"pixel_auroc_{name}": None for name in TITLES}
    images = torch.cat([setup.test_anomalies, setup.test_normal])
    usable, shown = usable_heatmaps(detector, setup.train_normal, run.seed), {}
    for name, make in usable.make.items():
        heat = shown[TITLES[name]] = make(images)
        if setup.test_masks is not None:
            nowhere = torch.zeros(len(setup.test_normal), *setup.shape[1:], dtype=torch.bool)
            masks = torch.cat([setup.test_masks, nowhere])
            figures[f"pixel_auroc_{name}"] = pixel_auroc(heat, masks)
    _show(folder, setup, detector, shown)
    return {**figures, "missing_heatmaps": usable.missing}


def _show(
    folder: Path,
    setup: AnomalySetup,
    detector: Detector,
    heat: dict[str, Tensor] | None = None,
) -> None:
    """Evenly chosen anomalies with every heatmap, as `preview.png`."""
    import torch

    from ifnormal.benchmarks.pictures import scaled_together, write_columns
    from ifnormal.explainers.heatmap import own_heatmaps

    total = len(setup.test_anomalies)
    at = torch.linspace(0, total - 1, min(_SHOWN, total)).round().long()
    images = setup.test_anomalies[at]
    if heat is None:
        own = own_heatmaps(detector, images)
        chosen = {} if own is None else {TITLES["own"]: own}
    else:
        chosen = {title: one[at] for title, one in heat.items()}
    masks = {} if setup.test_masks is None else {"defect": setup.test_masks[at]}
    scaled = {title: scaled_together(maps) for title, maps in chosen.items()}
    write_columns(folder / "preview.png", {"image": images, **masks, **scaled})


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    industrial = [run for run in plan if run.setup in _INDUSTRIAL]
    classes = [run for run in plan if run.setup not in _INDUSTRIAL]
    tables = []
    if industrial:
        tables.append(_of_industrial(industrial, finished))
    if classes:
        tables.append(_of_classes(classes, finished))
    return tables


def _of_industrial(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> Table:
    keys = ["detector_auroc", *(f"pixel_auroc_{name}" for name in TITLES)]

    def label(run: BenchRun) -> str:
        return f"{run.setup}, {run.detector.upper()}, {run.variant}"

    return Table(
        "Heatmaps: where the defect is",
        ["detector AuROC", *(f"pixel AuROC, {title}" for title in TITLES.values())],
        rows(plan, finished, keys, label, absent="not measured"),
        (
            "All in %. Pixel AuROC over all pixels of all test images, good ones included, by the "
            "masks of the data set; not measured where there are none, or no captum.",
            "Synthetic: no real anomaly was trained with, and of synthetic ones it is known where "
            "they are. Confetti: as the paper's outliers, their places known as well. 5 masks: "
            "five real anomalies with their masks were moved from the test set to training.",
            "The last column knows no defects but only where the thing is. Defects lie on things, "
            "so that only what is above it says where on a thing they are.",
            "The paper has a pixel AuROC of 92 without and 96 with masks, mean over all 15 "
            "categories, at 224 pixels and with a network trained on ImageNet before; ours has "
            "128 pixels and begins from nothing.",
        ),
    )


def _of_classes(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> Table:
    detectors = list(dict.fromkeys(run.detector for run in plan))

    def row(setup: str | None) -> list[Cell]:
        return [
            summary(
                [r for r in plan if setup in (None, r.setup) and r.detector == detector],
                finished,
                "detector_auroc",
                _PAPER_CLASSES if setup is None and detector == "fcdd" else None,
            )
            for detector in detectors
        ]

    setups = dict.fromkeys(run.setup for run in plan)
    return Table(
        "CIFAR-10, one class normal, with outlier exposure: detector AuROC",
        [detector.upper() for detector in detectors],
        {**{setup: row(setup) for setup in setups}, "mean": row(None)},
        ("In %. The paper's FCDD was trained for 600 epochs on the lossless images.",),
    )


EXPERIMENT = Experiment(
    NAME,
    "FCDD, and its heatmap beside others on annotated defects",
    "Liznerski et al., ICLR 2021",
    _plan,
    _perform,
    _tables,
    headline=("detector_auroc", "pixel_auroc_own"),
)
