"""A whole run on images that nobody has labelled: a second detector is asked instead of a judge."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ifnormal.common.pixels import png_bytes
from ifnormal.common.storage import read_json
from ifnormal.config import DataConfig, DetectorConfig, FitConfig, GeneratorConfig
from ifnormal.jobs.stages import (
    evaluate_stage,
    explain_stage,
    fit_stage,
    report_stage,
    train_detector_stage,
)
from tiny_runs import shrink

DETECTOR = DetectorConfig(steps=10, batch_size=16, width=4)


def _pictures(folder: Path, count: int, level: int) -> Path:
    """So many 16x16 pictures of noise around a level."""
    folder.mkdir()
    rng = torch.Generator().manual_seed(level)
    for number in range(count):
        noise = level + torch.randint(-30, 31, (3, 16, 16), generator=rng)
        (folder / f"{number}.png").write_bytes(png_bytes(noise.to(torch.uint8)))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the setup "folder", measured and told."""
    root = tmp_path_factory.mktemp("unlabelled")
    folders = {
        name: _pictures(root / name, count, level)
        for name, count, level in (("dark", 40, 50), ("grey", 40, 200), ("bright", 8, 220))
    }
    data = DataConfig(
        setup="folder",
        normal=folders["dark"],
        outlier_images=folders["grey"],
        anomalies=folders["bright"],
        size=16,
        channels=3,
        outliers=32,
    )
    fit = FitConfig(
        steps=2,
        batch_size=4,
        generator=GeneratorConfig(width=4, outer_blocks=1, inner_blocks=1),
        discriminator_width=4,
    )
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        train_detector_stage(root / "run", data, DETECTOR, 0)
        fit_stage(root / "run", fit)
        explain_stage(root / "run")
        evaluate_stage(root / "run")
        report_stage(root / "run")
    return root / "run"


def test_figures_that_need_a_judge_are_unknown_and_the_others_are_there(run: Path) -> None:
    metrics = read_json(run / "metrics.json")
    for key in ("truly_normal", "minimal_edit", "two_reasons", "two_ways", "judge_accuracy"):
        assert metrics[key] is None
    assert metrics["fid_extractor"] == "efficientnet-lite0"
    for key in ("fid_n", "kid", "diversity", "substitutability", "second_detector_auroc"):
        assert isinstance(metrics[key], float)
    assert len(metrics["second_detector_agrees"]) == len(metrics["perceptual_distance"])


def test_there_is_a_second_detector_and_neither_judge_nor_truth(run: Path) -> None:
    assert read_json(run / "second-detector" / "detector.json")["config"]["objective"] == "hsc"
    assert not (run / "judge").exists()
    assert not (run / "truth.json").exists()
    assert (run / "gradient" / "explanation.json").exists()
    assert "both independent detectors" in (run / "report.html").read_text()


def test_measured_again_with_the_same_second_detector(run: Path) -> None:
    before = read_json(run / "metrics.json")
    weights = read_json(run / "second-detector" / "detector.json")["sha256"]
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        again = evaluate_stage(run, features="own")
    assert again["fid_extractor"] == "second-hsc-detector"
    assert again["fid_n"] != before["fid_n"]
    assert again["second_detector_agrees"] == before["second_detector_agrees"]
    assert read_json(run / "second-detector" / "detector.json")["sha256"] == weights
