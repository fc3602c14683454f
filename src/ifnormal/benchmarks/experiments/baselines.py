"""Other ways to a counterfactual, and the method without some of its terms: the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifnormal.benchmarks.experiment import (
    PIXEL,
    BenchRun,
    Experiment,
    Finished,
    Selection,
    Table,
    Workplace,
)
from ifnormal.benchmarks.summary import grouped, rows
from ifnormal.evaluation import METRICS

if TYPE_CHECKING:
    from ifnormal.benchmarks.materials import Materials
    from ifnormal.explanation.explanation import Explanation

NAME = "baselines"
# The first so many test anomalies, the same for every method.
ANOMALIES = 200
_DEFAULT = ("cmnist/one+cyan", "mnist/one-vs-rest/*")

METHOD, NEAREST, PIXELS, CODES = "method", "nearest", "pixels", "codes"
# Variant -> its name in the table.
_OTHERS = {
    NEAREST: "nearest normal image",
    PIXELS: "gradient on pixels",
    CODES: "gradient on codes",
}
# Fitted: the method, and what it is without some of its terms.
_FITTED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    METHOD: ("the method", {}),
    "no-concept": ("without L_con", {"fit.weights.concept": 0.0}),
    "no-concept-no-modes": (
        "without L_con, modes",
        {"fit.weights.concept": 0.0, "fit.weights.mode": 0.0, "fit.conditional": False},
    ),
    "no-reconstruction": (
        "without L_rec, L_cyc",
        {"fit.weights.reconstruction": 0.0, "fit.weights.cycle": 0.0},
    ),
}
_KEYS = (
    "normality_auroc",
    "fid_n",
    "validity",
    "second_detector_agrees",
    "truly_normal",
    "minimal_edit",
    "two_ways",
    "concept_accuracy_fresh",
    "diversity",
    "mse",
    "perceptual_distance",
    "substitutability",
    "explain_s",
)
# Figures that only several concepts have.
_OF_SEVERAL = (
    *("two_ways", "two_reasons", "diversity"),
    *("concept_accuracy", "concept_accuracy_fresh"),
)
_TITLES = {"explain_s": "seconds, without the fit"}
_NOTES = (
    f"Each method explains the same first {ANOMALIES} test anomalies of a setup, against the same "
    "detector, and the same judge measures it. Mean ± standard deviation over setups and seeds.",
    "Nearest normal image: of the training images, in the detector's features, K different ones. "
    "Gradient on pixels: Wachter et al. 2017. Gradient on codes: the same in the codes of an "
    "autoencoder trained on normal images alone, as REVISE (Joshi et al. 2019). Both gradients "
    "have K = 1, so that figures about two ways do not apply.",
    "The second detector has another objective and seed, and no method has met it.",
    "Without L_con, modes: neither concept classifier nor normal modes tell concepts apart.",
    "Seconds: for all anomalies; of codes with the training of the autoencoder.",
)


def _plan(selection: Selection) -> list[BenchRun]:
    from ifnormal.data.setups.card_files import all_cards

    wanted = (selection.only,) if selection.only else _DEFAULT
    setups = [one for one in all_cards() if any(fnmatchcase(one, some) for some in wanted)]
    fitted = {name: options for name, (_, options) in _FITTED.items()}
    variants = {PIXEL: {**fitted, **{name: {} for name in _OTHERS}}}
    return [
        BenchRun(
            NAME, setup, detector, seed, variant, selection.budget, options, generator=generator
        )
        for seed in selection.seeds
        for detector in selection.detectors or ("bce",)
        for setup in setups
        for generator in selection.each_generator
        for variant, options in variants.get(generator, {METHOD: {}}).items()
    ]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    import time

    from ifnormal.benchmarks.materials import Materials

    begun, made = time.perf_counter(), Materials(run, folder, workplace)
    explanation, seconds = _explained(made)
    # Every method's edits please the detector that they were made for: another one is asked too.
    figures = made.figures(explanation, made.second)
    if explanation.concepts == 1:
        figures |= dict.fromkeys(_OF_SEVERAL)
    figures["explain_s"] = round(seconds, 2)
    figures["wall_clock_s"] = round(time.perf_counter() - begun, 1)
    made.save(explanation, figures)
    return figures


def _explained(made: Materials) -> tuple[Explanation, float]:
    """The run's counterfactuals, and the seconds they took.

    The training of detector and explainer does not count. That of the autoencoder does, which is
    trained for these anomalies.
    """
    import time

    from ifnormal.benchmarks.baselines import latent_gradient, nearest_normal
    from ifnormal.data.setups.captions import anomaly_names
    from ifnormal.explainers.pixel_gradient import gradient_counterfactuals

    run, detector, normal = made.run, made.detector, made.setup.train_normal
    anomalies = made.setup.test_anomalies[:ANOMALIES]
    names = tuple(anomaly_names(made.setup)[:ANOMALIES])
    if run.variant in _FITTED:
        _ = made.explainer
        begun = time.perf_counter()
        return made.explain(ANOMALIES), time.perf_counter() - begun
    begun = time.perf_counter()
    if run.variant == NEAREST:
        found = nearest_normal(detector, anomalies, normal, names, made.options.fit.concepts)
    elif run.variant == PIXELS:
        found = gradient_counterfactuals(detector, anomalies, names)
    else:
        found = latent_gradient(detector, anomalies, normal, names, run.seed)
    seconds = time.perf_counter() - begun
    return replace(found, facts={**found.facts, "seed": run.seed}), seconds


def _tables(plan: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    """One table a family of setups, one row a method."""
    families = grouped(plan, lambda run: run.setup.split("/")[0])
    return [_table(family, runs, finished) for family, runs in families.items()]


def _table(family: str, plan: Sequence[BenchRun], finished: Sequence[Finished]) -> Table:
    names = {**_OTHERS, **{variant: name for variant, (name, _) in _FITTED.items()}}

    def label(run: BenchRun) -> str:
        name = names[run.variant]
        return name if run.generator == PIXEL else f"{name}, generator {run.generator}"

    made = rows(plan, finished, _KEYS, label, absent="does not apply")
    setups = ", ".join(dict.fromkeys(run.setup for run in plan))
    columns = [_TITLES.get(key) or METRICS[key].heading for key in _KEYS]
    title = f"Baselines, {family}: the same figures for every method"
    return Table(title, columns, made, [*_NOTES, f"Setups: {setups}."])


EXPERIMENT = Experiment(
    name=NAME,
    title="Nearest normal image, gradients on pixels and codes, and the method without its terms",
    source="ifnormal; the paper has no baselines",
    plan=_plan,
    perform=_perform,
    tables=_tables,
    headline=("normality_auroc", "truly_normal"),
)
