"""Experiments of milliseconds, for the sweep runner: workers import them by name."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ifnormal.benchmarks.experiment import (
    BenchRun,
    Cell,
    Experiment,
    Finished,
    Selection,
    Table,
    Workplace,
)
from ifnormal.benchmarks.summary import summary

NAME = "tiny_experiments:EXPERIMENT"
PERFORMED = "performed.jsonl"
BROKEN = "broken"  # while it is there, runs of a/two fail
DOOMED = "doomed"  # names the node of a Ray cluster whose runs do not end before it dies
SETUPS = ("a/one", "a/two", "b/one", "b/two")


def plan(selection: Selection) -> list[BenchRun]:
    return [
        BenchRun(NAME, setup, "bce", seed, budget=selection.budget)
        for seed in selection.seeds
        for setup in SETUPS
        if selection.only in (None, setup)
    ]


def perform(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    """A figure that depends on the run alone; options make it slow, no number or deadly."""
    import torch

    with (workplace.out / "begun.jsonl").open("a") as file:
        raylet = os.environ.get("RAY_RAYLET_PID")  # of the node, where there is one
        line = {"key": run.key, "pid": os.getpid(), "raylet": raylet}
        file.write(json.dumps(line) + "\n")
    doomed = workplace.out / DOOMED
    if raylet is not None and doomed.exists() and doomed.read_text() == raylet:
        time.sleep(3600)
    if run.setup == "a/two" and (workplace.out / BROKEN).exists():
        raise RuntimeError("the detector\nis out of order")
    if run.options.get("nan") == run.setup:
        return {"figure": float("nan")}
    if run.options.get("die") == run.setup:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(run.options.get("sleep", 0.0))
    random = torch.Generator().manual_seed(run.seed)
    figure = torch.rand(1000, generator=random).mean().item() + len(run.setup)
    (folder / "preview.png").write_bytes(b"picture")
    with (workplace.out / PERFORMED).open("a") as file:
        file.write(json.dumps({"key": run.key}) + "\n")
    return {"figure": figure, "threads": torch.get_num_threads()}


def tables(planned: Sequence[BenchRun], finished: Sequence[Finished]) -> list[Table]:
    rows: dict[str, list[Cell]] = {
        setup: [summary([run for run in planned if run.setup == setup], finished, "figure", 1.5)]
        for setup in dict.fromkeys(run.setup for run in planned)
    }
    return [Table("Figures", ["figure"], rows, ["a note"])]


EXPERIMENT = Experiment(NAME, "Tiny runs", "tests", plan, perform, tables, headline=("figure",))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


COLORED_NAME = "tiny_experiments:COLORED"
# A whole run on the embedded digits in seconds; its figures mean nothing.
COLORED_OPTIONS: dict[str, Any] = {
    "data.drawings": 200,
    "data.outliers": 64,
    "data.test_images": 30,
    "detector.steps": 30,
    "detector.batch_size": 32,
    "detector.width": 8,
    "fit.steps": 4,
    "fit.batch_size": 8,
    "fit.generator.width": 4,
    "fit.generator.inner_blocks": 1,
    "fit.discriminator_width": 4,
    "fit.checkpoint_every": 2,
    "judge_steps": 3,
}


def plan_colored(selection: Selection) -> list[BenchRun]:
    return [
        BenchRun(COLORED_NAME, "colored-mnist", detector, seed, options=COLORED_OPTIONS)
        for seed in selection.seeds
        for detector in selection.detectors or ("bce",)
    ]


def perform_colored(run: BenchRun, folder: Path, workplace: Workplace) -> dict[str, Any]:
    from ifnormal.benchmarks.full_run import full_run

    return full_run(run, folder, workplace)


COLORED = Experiment(
    COLORED_NAME,
    "Colored digits",
    "tests",
    plan_colored,
    perform_colored,
    tables,
    headline=("normality_auroc", "fid_n"),
)
