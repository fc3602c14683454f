"""Figure 9: heatmaps beside counterfactuals on Colored-MNIST, and how much of why each tells.

A red four is anomalous where ones and cyan digits are normal, and the reason has two sides: it
would be normal in cyan, and it would be normal as a one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from ifnormal.benchmarks.summary import grouped, rows, summary, with_generator
from ifnormal.benchmarks.usable_heatmaps import TITLES

if TYPE_CHECKING:
    from torch import Tensor

    from ifnormal.data.setups.setup import AnomalySetup
    from ifnormal.evaluation.judge.judge import AttributeJudge
    from ifnormal.explanation.explanation import Explanation

_SETUP = "cmnist/one+cyan"
_DETECTORS = ("bce", "fcdd")
_PAIRS = 600


def _plan(selection: Selection) -> list[BenchRun]:
    if not selection.takes(_SETUP):
        return []
    return [
        BenchRun("figure9", _SETUP, detector, seed, budget=selection.budget, generator=generator)
        for generator in selection.each_generator
        for detector in selection.detectors or _DETECTORS
        for seed in selection.seeds
    ]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.materials import KEPT, Materials
    from ifnormal.benchmarks.pictures import scaled_alone, write_columns
    from ifnormal.benchmarks.usable_heatmaps import usable_heatmaps
    from ifnormal.report.wording import concept_name

    made = Materials(run, folder, workplace)
    setup, judge, explanation = made.setup, made.judge, made.explain()
    assert judge is not None
    figures = made.figures(explanation)
    made.save(explanation, figures)
    figures |= exposed_by_counterfactuals(explanation, setup, judge)
    columns = {"anomaly": explanation.anomalies}
    for k in range(explanation.concepts):
        columns[f"if normal {concept_name(k)}"] = explanation.counterfactuals[:, k]
    usable = usable_heatmaps(made.detector, setup.train_normal, run.seed)
    for name in usable.missing:
        figures |= {f"{name}_{key}": None for key in _HEAT}
    for name, heat in usable.make.items():
        told = exposed_by_heat(heat, setup, run.seed)
        figures |= {f"{name}_{key}": value for key, value in told.items()}
        columns[name] = scaled_alone(heat(explanation.anomalies[:KEPT]))
    write_columns(folder / "heatmaps.png", columns)
    return {**figures, "missing_heatmaps": usable.missing}


def exposed_by_counterfactuals(
    explanation: Explanation, setup: AnomalySetup, judge: AttributeJudge
) -> dict[str, float]:
    """For how many anomalies (%) some counterfactual tells each side of the reason.

    Colour: the normal colour, the digit kept. Shape: the normal digit, the colour kept. By the word
    of the judge.
    """
    true = setup.attributes["test_anomalies"]
    predicted = judge.predict(explanation.counterfactuals)
    count = len(explanation)

    def told(changed: str, kept: str) -> Tensor:
        became = sum(predicted[changed] == value for value in setup.normal_attributes[changed]) > 0
        stayed = predicted[kept] == true[kept][:count, None]
        return (became & stayed).any(1)

    colour, shape = told("color", "digit"), told("digit", "color")
    sides = {"colour": colour, "shape": shape, "both": colour & shape}
    return {
        f"counterfactual_{name}": 100 * side.double().mean().item() for name, side in sides.items()
    }


def exposed_by_heat(heat: Any, setup: AnomalySetup, seed: int) -> dict[str, float]:
    """Whether heatmaps of anomalies differ from those of normal images with one side of the reason.

    Colour: the same drawing in the normal colour, so that nothing but the colour differs; by the
    pattern, as a map is shown, and by the amount of heat. Shape: normal digits in the anomalies'
    colours; by the amount alone, since maps of other drawings always differ.

    Args:
        heat: images (N, C, H, W) uint8 -> (N, H, W) heat.
        setup: Colored-MNIST.
        seed: of the probe.
    """
    from ifnormal.benchmarks.heat_separation import heat_amount_auroc, heat_pattern_auroc

    anomalies = setup.test_anomalies[:_PAIRS]
    hot, recoloured = heat(anomalies), heat(in_color(anomalies, _normal_color(setup)))
    ones = heat(ones_in(setup)[:_PAIRS])
    return {
        "colour_pattern": heat_pattern_auroc(hot, recoloured, seed),
        "colour_amount": heat_amount_auroc(hot, recoloured),
        "shape_amount": heat_amount_auroc(hot, ones),
    }


def in_color(images: Tensor, color: str) -> Tensor:
    """The same drawings (N, 3, H, W) uint8 in another colour; their strokes' brightness stays."""
    import torch

    from ifnormal.data.setups.colored_mnist import COLORS

    rgb = torch.tensor(COLORS[color], dtype=torch.uint8)
    return images.amax(1, keepdim=True) * rgb[:, None, None]


def ones_in(setup: AnomalySetup) -> Tensor:
    """The normal test images that are not in the normal colour: the normal digit in all others."""
    normal = setup.test_normal
    recoloured = in_color(normal, _normal_color(setup))
    return normal[(normal != recoloured).flatten(1).any(1)]


def _normal_color(setup: AnomalySetup) -> str:
    return setup.attribute_names["color"][setup.normal_attributes["color"][0]]


_COUNTERFACTUAL: Mapping[str, str] = {
    "counterfactual_colour": "colour told",
    "counterfactual_shape": "shape told",
    "counterfactual_both": "both told",
}
_HEAT: Mapping[str, str] = {
    "colour_pattern": "colour, by pattern",
    "colour_amount": "colour, by amount",
    "shape_amount": "shape, by amount",
}


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    label = with_generator(plan, lambda run: run.detector.upper())
    heat = {}
    for heading, runs in grouped(plan, label).items():
        made = {run.key for run in runs}
        for method, title in TITLES.items():
            keys = [f"{method}_{key}" for key in _HEAT]
            if any(keys[0] in one.metrics for one in finished if one.run.key in made):
                cells = [summary(runs, finished, key, absent="not measured") for key in keys]
                heat[f"{heading}, {title}"] = cells
    return [
        Table(
            "Figure 9: what counterfactuals tell of the reason, % of the anomalies",
            list(_COUNTERFACTUAL.values()),
            rows(plan, finished, _COUNTERFACTUAL, label),
            ("An independent judge says which attribute a counterfactual changed and kept.",),
        ),
        Table(
            "Figure 9: what heatmaps tell of the reason, AuROC in %",
            list(_HEAT.values()),
            heat,
            (
                "50: heat looks the same whether the reason is there or not. By pattern: a probe "
                "sees maps as they are shown, each scaled by itself, of an image and of the same "
                "drawing in the normal colour. By amount: the sum of the heat, which repeats the "
                "detector's score and is lost where maps are scaled to be shown. Grad-CAM and "
                "integrated gradients are not measured without captum.",
            ),
        ),
    ]


EXPERIMENT = Experiment(
    "figure9",
    "Heatmaps beside counterfactuals: how much of the true reason each exposes",
    "figure 9 of the paper",
    _plan,
    _perform,
    _tables,
    headline=("counterfactual_both", "normality_auroc"),
)
