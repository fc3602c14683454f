"""The paper's main experiment: every setup, every detector, and all figures of counterfactuals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ifnormal.benchmarks.experiment import (
    BenchRun,
    Experiment,
    Finished,
    Selection,
    Table,
    Workplace,
)
from ifnormal.benchmarks.paper_figures import SOURCE, paper_figure
from ifnormal.benchmarks.summary import grouped, rows, summary, with_generator
from ifnormal.evaluation import METRICS

NAME = "paper"
# The setup of the demo.
_DEMO = "colored-mnist"
_DETECTORS = ("bce", "hsc", "dsvdd")
_FAMILIES = {
    "cmnist": "C-MNIST",
    _DEMO: "C-MNIST of the demo",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "gtsrb": "GTSRB",
    "inn": "INN",
    "imagenet": "ImageNet",
    "mvtec": "MVTec-AD",
}
_GROUPS = {"single": "one normal class", "several": "several", "industrial": "industrial"}
_ABSENT = "cannot be measured"
# What a table of many columns can hold beside the two that have a table of their own.
_KEYS = (
    "detector_auroc",
    "normality_auroc",
    "fid_n",
    "kid",
    "concept_accuracy",
    "concept_accuracy_fresh",
    "validity",
    "truly_normal",
    "mse",
    "perceptual_distance",
    "diversity",
    "monotonicity",
    "substitutability",
    "wall_clock_s",
    "cpu_s",
)
_TITLES = {"cpu_s": "processor time, s"}
_PER_SETUP = (
    "detector_auroc",
    "normality_auroc",
    "fid_n",
    "concept_accuracy",
    "concept_accuracy_fresh",
    "validity",
    "truly_normal",
    "wall_clock_s",
)


def plan(selection: Selection) -> list[BenchRun]:
    """Every chosen setup of the paper with every detector and seed; BCE of all setups first.

    The setup of the demo has no card and is planned only where it is named: `--only colored-mnist`.
    """
    from ifnormal.data.setups.card_files import all_cards

    cards = all_cards().items()
    ids = [one for one, card in cards if card.family in _FAMILIES and selection.takes(one)]
    if selection.only == _DEMO:
        ids = [_DEMO]
    return [
        BenchRun(NAME, setup, detector, seed, budget=selection.budget, generator=generator)
        for seed in selection.seeds
        for generator in selection.each_generator
        for detector in selection.detectors or _DETECTORS
        for setup in ids
    ]


def _perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.full_run import full_run

    return full_run(run, folder, workplace)


def tables(planned: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    """Tables 1 and 2 of the paper, all figures by group and detector, and a row a setup."""
    return [
        _as_in_the_paper(
            "Table 1: AuROC of normal images against counterfactuals, %",
            "normality_auroc",
            planned,
            finished,
            "50 is ideal: the detector cannot tell them apart. Above, counterfactuals can "
            "still be recognised as anomalous; below, they look more normal than normal.",
        ),
        _as_in_the_paper(
            "Table 2: FID_N, %",
            "fid_n",
            planned,
            finished,
            "FID of counterfactuals against normal images, in % of that of the anomalies; less "
            "is better. In brackets the features that ours is measured in: of photographs those of "
            "a network trained on ImageNet, of others those of the judge. Figures of different "
            "features do not compare; the paper's are of another network.",
        ),
        _all_figures(planned, finished),
        _per_setup(planned, finished),
    ]


def _as_in_the_paper(
    title: str, key: str, runs: Sequence[BenchRun], finished: Sequence[Finished], note: str
) -> Table:
    """One figure: a row a group of setups, a column a detector and generator."""
    label = with_generator(runs, _detector)
    detectors = {label(run): run.detector for run in sorted(runs, key=_detector_rank)}
    made = {
        heading: [
            summary(
                [run for run in members if label(run) == name],
                finished,
                key,
                paper_figure(key, *_group(members[0]), detector),
                _ABSENT,
            )
            for name, detector in detectors.items()
        ]
        for heading, members in grouped(_in_order(runs), _heading).items()
    }
    notes = [
        note,
        f"Mean ± standard deviation over setups and seeds. Paper: {SOURCE}.",
        _made(runs),
    ]
    return Table(title, list(detectors), made, notes)


def _all_figures(runs: Sequence[BenchRun], finished: Sequence[Finished]) -> Table:
    def label(run: BenchRun) -> str:
        return f"{_heading(run)}, {_detector(run)}"

    def paper(key: str, run: BenchRun) -> float | None:
        return paper_figure(key, *_group(run), run.detector)

    named = with_generator(runs, label)
    made = rows(_in_order(runs), finished, _KEYS, named, paper, _ABSENT)
    notes = [f"{METRICS[key].title}: {METRICS[key].meaning}" for key in _KEYS if key in METRICS]
    return Table("All figures", _columns(_KEYS), made, [*notes, _made(runs)])


def _per_setup(runs: Sequence[BenchRun], finished: Sequence[Finished]) -> Table:
    def label(run: BenchRun) -> str:
        return f"{run.setup}, {_detector(run)}"

    setups = list(dict.fromkeys(run.setup for run in runs))
    ordered = sorted(runs, key=lambda run: (setups.index(run.setup), _detector_rank(run)))
    named = with_generator(runs, label)
    made = rows(ordered, finished, _PER_SETUP, named, absent=_ABSENT)
    note = "Mean ± standard deviation over seeds where there are several."
    return Table("Each setup", _columns(_PER_SETUP), made, [note])


def _detector(run: BenchRun) -> str:
    return run.detector.upper()


def _detector_rank(run: BenchRun) -> tuple[int, str]:
    return _rank(run.detector, _DETECTORS), run.detector


def _group(run: BenchRun) -> tuple[str, str]:
    """The paper's group and the family of the run's setup."""
    from ifnormal.data.setups.card_files import all_cards

    card = all_cards().get(run.setup)
    if card is None:
        return ("several" if run.setup == _DEMO else "other"), run.setup
    return card.group, card.family


def _heading(run: BenchRun) -> str:
    group, family = _group(run)
    return f"{_FAMILIES.get(family, family)}, {_GROUPS.get(group, group)}"


def _in_order(runs: Iterable[BenchRun]) -> list[BenchRun]:
    """Runs in the paper's order of groups, families and detectors."""

    def place(run: BenchRun) -> tuple[int, int, str, tuple[int, str]]:
        group, family = _group(run)
        ranks = _rank(group, _GROUPS), _rank(family, _FAMILIES)
        return *ranks, family, _detector_rank(run)

    return sorted(runs, key=place)


def _rank(name: str, known: Iterable[str]) -> int:
    """The position of a name; names that are not known come last."""
    names = list(known)
    return names.index(name) if name in names else len(names)


def _columns(keys: Sequence[str]) -> list[str]:
    return [METRICS[key].heading if key in METRICS else _TITLES.get(key, key) for key in keys]


def _made(runs: Sequence[BenchRun]) -> str:
    setups, seeds = len({run.setup for run in runs}), len({run.seed for run in runs})
    return f"Planned: {len(runs)} runs; setups: {setups}, seeds: {seeds}."


EXPERIMENT = Experiment(
    name=NAME,
    title="Tables 1 and 2 and every other figure: all setups, BCE, HSC and DSVDD",
    source="section 4 and appendix of the paper",
    plan=plan,
    perform=_perform,
    tables=tables,
    headline=("normality_auroc", "fid_n"),
)
