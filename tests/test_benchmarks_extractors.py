"""Figures of different feature extractors never share a mean, and each is labelled."""

from dataclasses import replace
from pathlib import Path

from ifnormal.benchmarks.experiment import BenchRun, Finished, Table
from ifnormal.benchmarks.summary import summary
from ifnormal.benchmarks.tables import Origin, render

RUN = BenchRun("paper", "cifar10/one-vs-rest/cat", "bce", 0)
RUNS = [RUN, replace(RUN, seed=1)]


def finished(*extractors: str) -> list[Finished]:
    return [
        Finished(run, {"fid_n": 50.0 + n, "validity": [90.0], "fid_extractor": name}, Path())
        for n, (run, name) in enumerate(zip(RUNS, extractors, strict=True))
    ]


def test_one_extractor_is_the_label_of_the_mean() -> None:
    cell = summary(RUNS, finished("efficientnet-lite0", "efficientnet-lite0"), "fid_n")
    assert (cell.mean, cell.extractor) == (50.5, "efficientnet-lite0")
    table = Table("FID_N", ["bce"], {"cat": [cell]})
    assert "50.5 ± 0.707 [efficientnet-lite0]" in render([table], Origin("x", "x", 2, 2), "md")


def test_several_extractors_have_no_mean() -> None:
    cell = summary(RUNS, finished("efficientnet-lite0", "cifar10-judge"), "fid_n")
    assert (cell.mean, cell.text, cell.runs) == (None, "several extractors", 2)


def test_other_figures_have_no_extractor() -> None:
    cell = summary(RUNS, finished("efficientnet-lite0", "cifar10-judge"), "validity")
    assert (cell.mean, cell.extractor) == (90.0, None)
