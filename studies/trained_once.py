"""Detectors and the judge of Colored-MNIST, trained once for all benchmarks in a folder."""

from __future__ import annotations

from pathlib import Path

from ifnormal.config import DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.evaluation.judge.training import train_judge


def trained_detector(setup: AnomalySetup, seed: int, folder: Path) -> TrainedDetector:
    """The BCE detector of a seed."""
    path = folder / f"detector-{seed}"
    if not (path / "detector.json").exists():
        train_detector(setup, DetectorConfig(), seed).save(path)
    return TrainedDetector.load(path)


def trained_judge(setup: AnomalySetup, folder: Path) -> AttributeJudge:
    """The judge, the same for every seed."""
    path = folder / "judge"
    if not (path / "judge.json").exists():
        train_judge(setup, seed=1_234_567).save(path)
    return AttributeJudge.load(path)
