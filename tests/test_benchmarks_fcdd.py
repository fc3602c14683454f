"""The FCDD experiment: its plan, tables and pictures, and a whole run on tiny budgets."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from ifnormal.benchmarks.experiment import Finished, Selection, Workplace
from ifnormal.benchmarks.experiments.fcdd import EXPERIMENT

DATA = os.environ.get("IFNORMAL_DATA")


def test_the_plan_is_the_same_every_time_and_masks_are_where_there_are_any() -> None:
    runs = EXPERIMENT.plan(Selection(seeds=(0, 1)))
    assert runs == EXPERIMENT.plan(Selection(seeds=(0, 1)))
    assert len({run.key for run in runs}) == len(runs) == 2 * (3 + 2 + 10)
    with_masks = {run.setup for run in runs if "data.labelled" in run.options}
    assert with_masks == {"mvtec/screw"}
    only = EXPERIMENT.plan(Selection(only="cifar10/*", detectors=("fcdd", "hsc")))
    assert len(only) == 20
    assert {run.detector for run in only} == {"fcdd", "hsc"}


def test_the_plan_loads_no_torch() -> None:
    code = (
        "import sys; from ifnormal.benchmarks.experiments.fcdd import EXPERIMENT as e\n"
        "from ifnormal.benchmarks.experiment import Selection\n"
        "e.tables(e.plan(Selection()), []); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_tables_say_what_is_missing_and_what_cannot_be_measured(tmp_path: Path) -> None:
    plan = EXPERIMENT.plan(Selection())
    screw = next(run for run in plan if run.setup == "mvtec/screw")
    bottle = next(run for run in plan if run.setup == "mvtec/bottle")
    planes = next(run for run in plan if "airplane" in run.setup)
    finished = [
        Finished(screw, {"detector_auroc": 90.0, "pixel_auroc_own": 80.0}, tmp_path),
        Finished(bottle, {"detector_auroc": 99.0, "pixel_auroc_own": None}, tmp_path),
        Finished(planes, {"detector_auroc": 70.0}, tmp_path),
    ]
    heatmaps, classes = EXPERIMENT.tables(plan, finished)
    first = heatmaps.rows["mvtec/screw, FCDD, synthetic"]
    assert [cell.mean for cell in first[:2]] == [90, 80]
    assert heatmaps.rows["mvtec/screw, FCDD, 5 masks"][0].runs == 0
    assert heatmaps.rows["mvtec/screw, FCDD, 5 masks"][0].expected == 1
    assert heatmaps.rows["mvtec/bottle, FCDD, synthetic"][1].text == "not measured"
    assert all(len(row) == len(heatmaps.columns) for row in heatmaps.rows.values())
    mean = classes.rows["mean"][0]
    assert (mean.mean, mean.runs, mean.expected, mean.paper) == (70, 1, 10, 95)


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="IFNORMAL_DATA names no folder of data")
@pytest.mark.filterwarnings("ignore:.*captum.*")
def test_a_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("captum")
    monkeypatch.setattr("ifnormal.benchmarks.heatmaps.autoencoder._STEPS", 2)
    (run,) = [
        run for run in EXPERIMENT.plan(Selection(only="mvtec/screw")) if run.variant == "5 masks"
    ]
    tiny = {"detector.steps": 3, "detector.width": 4, "data.outliers": 32, "data.test_images": 6}
    run = replace(run, options={**run.options, **tiny})
    figures = EXPERIMENT.perform(run, tmp_path, Workplace(tmp_path, Path(str(DATA))))
    found = {key: value for key, value in figures.items() if key.startswith("pixel_auroc_")}
    assert len(found) == 6
    assert all(math.isfinite(value) and 0 <= value <= 100 for value in found.values())
    assert 0 <= figures["detector_auroc"] <= 100
    with Image.open(tmp_path / "preview.png") as sheet:
        assert sheet.width > 7 * 90
