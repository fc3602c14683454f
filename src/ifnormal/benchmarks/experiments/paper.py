"""The paper's main experiment: every setup, every detector, and all figures of counterfactuals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
from ifnormal.benchmarks.paper_figures import SOURCE, paper_figure
from ifnormal.benchmarks.summary import summary
from ifnormal.evaluation import METRICS

if TYPE_CHECKING:
    from ifnormal.data.setups.card import Card

NAME = "paper"
_DETECTORS = ("bce", "hsc", "dsvdd")
_FAMILIES = {
    "cmnist": "C-MNIST",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "gtsrb": "GTSRB",
    "inn": "INN",
    "imagenet": "ImageNet",
    "mvtec": "MVTec-AD",
}
_GROUPS = ("single", "several", "industrial")
_GROUP_WORDS = {"single": "one normal class", "several": "several", "industrial": "industrial"}
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
    """Every chosen setup with every detector and seed; BCE of all setups before the others."""
    from ifnormal.data.setups.card_files import all_cards

    ids = [one for one in all_cards() if selection.takes(one)]
    return [
        BenchRun(NAME, setup, detector, seed, budget=selection.budget)
        for seed in selection.seeds
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
            "is better. Ours is measured in the features of the family's judge, the paper's in "
            "those of another network, so that only orders of magnitude compare.",
        ),
        _all_figures(planned, finished),
        _per_setup(planned, finished),
    ]


def _as_in_the_paper(
    title: str, key: str, runs: Sequence[BenchRun], finished: Sequence[Finished], note: str
) -> Table:
    """One figure: a row a group of setups, a column a detector."""
    detectors = _in_order({run.detector for run in runs})
    rows = {
        _heading(group, family): [
            _cell(
                [run for run in members if run.detector == detector],
                finished,
                key,
                paper_figure(key, group, family, detector),
            )
            for detector in detectors
        ]
        for (group, family), members in _by_group(runs).items()
    }
    notes = [
        note,
        f"Mean ± standard deviation over setups and seeds. Paper: {SOURCE}.",
        _made(runs),
    ]
    return Table(title, [d.upper() for d in detectors], rows, notes)


def _all_figures(runs: Sequence[BenchRun], finished: Sequence[Finished]) -> Table:
    rows = {
        f"{_heading(group, family)}, {detector.upper()}": [
            _cell(chosen, finished, key, paper_figure(key, group, family, detector))
            for key in _KEYS
        ]
        for (group, family), members in _by_group(runs).items()
        for detector in _in_order({run.detector for run in members})
        if (chosen := [run for run in members if run.detector == detector])
    }
    notes = [f"{METRICS[key].title}: {METRICS[key].meaning}" for key in _KEYS if key in METRICS]
    return Table("All figures", _columns(_KEYS), rows, [*notes, _made(runs)])


def _per_setup(runs: Sequence[BenchRun], finished: Sequence[Finished]) -> Table:
    rows = {}
    for setup in dict.fromkeys(run.setup for run in runs):
        for detector in _in_order({run.detector for run in runs if run.setup == setup}):
            chosen = [run for run in runs if run.setup == setup and run.detector == detector]
            rows[f"{setup}, {detector.upper()}"] = [
                _cell(chosen, finished, key, None) for key in _PER_SETUP
            ]
    note = "Mean ± standard deviation over seeds where there are several."
    return Table("Each setup", _columns(_PER_SETUP), rows, [note])


def _cell(
    planned: Sequence[BenchRun], finished: Sequence[Finished], key: str, paper: float | None
) -> Cell:
    """A figure of some runs; where it cannot be had at all, as without labels, a word of that."""
    if not planned:
        return Cell(None, paper=paper)
    return summary(planned, finished, key, paper, absent="cannot be measured")


def _by_group(runs: Iterable[BenchRun]) -> dict[tuple[str, str], list[BenchRun]]:
    """(paper's group, family) -> runs, in the paper's order."""
    from ifnormal.data.setups.card_files import all_cards

    cards: dict[str, Card] = dict(all_cards())
    found: dict[tuple[str, str], list[BenchRun]] = {}
    for run in runs:
        card = cards.get(run.setup)
        where = ("other", run.setup) if card is None else (card.group, card.family)
        found.setdefault(where, []).append(run)
    families = list(_FAMILIES)

    def rank(where: tuple[str, str]) -> tuple[int, int, str]:
        group, family = where
        first = _GROUPS.index(group) if group in _GROUPS else len(_GROUPS)
        second = families.index(family) if family in families else len(families)
        return first, second, family

    return {where: found[where] for where in sorted(found, key=rank)}


def _heading(group: str, family: str) -> str:
    return f"{_FAMILIES.get(family, family)}, {_GROUP_WORDS.get(group, group)}"


def _in_order(detectors: Iterable[str]) -> list[str]:
    known = list(_DETECTORS)
    return sorted(detectors, key=lambda d: (known.index(d) if d in known else len(known), d))


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
