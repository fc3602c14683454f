"""Folders that version 0.1.0 wrote are still read: runs, explanations and explainers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from ifnormal import Explainer, Explanation, LatentExplainer, TrainedDetector, write_report
from ifnormal.common.storage import read_json
from ifnormal.explainers.diffusion.loading import save_backbone
from ifnormal.explainers.loading import load_explainer
from test_diffusion_explainer import Brightness, pictures
from test_own_images import MODULE
from tiny_backbones import scheduler, tiny_backbone

WRITTEN = Path(__file__).parent / "data" / "version-0.1.0"


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A copy, which a report may be written into."""
    return Path(shutil.copytree(WRITTEN, tmp_path / "written"))


def test_run(written: Path) -> None:
    run = written / "run"
    detector = TrainedDetector.load(run / "detector")
    explanation = Explanation.load(run / "explanation")
    explainer = load_explainer(run)
    assert isinstance(explainer, Explainer)
    images = explanation.anomalies / 255
    assert torch.allclose(explainer.detector(images), detector(images))
    again = explainer.explain(explanation.anomalies, explanation.names)
    assert (again.counterfactuals.int() - explanation.counterfactuals.int()).abs().max() <= 8
    assert torch.allclose(
        again.calibrated_scores_before, explanation.calibrated_scores_before, atol=1e-3
    )
    assert torch.equal(again.flagged, explanation.flagged)
    assert read_json(run / "metrics.json")["validity"]
    page = write_report(run).read_text()
    assert all(name in page for name in explanation.names)


def test_explanation_of_own_images(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (written / "own_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(written))
    folder = written / "explained"
    explanation = Explanation.load(folder)
    explainer = load_explainer(folder, "own_module:redness")
    again = explainer.explain(explanation.anomalies, explanation.names)
    assert torch.allclose(again.own_scores_before.float(), explanation.own_scores_before, atol=1e-3)
    assert explanation.own_threshold == explainer.detector.own_threshold
    assert explanation.names[0] in write_report(folder).read_text()


def test_explainer_with_a_diffusion_model(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_backbone(tiny_backbone(), written / "backbone", scheduler())
    monkeypatch.chdir(written)
    explainer = LatentExplainer.load("inversion/explainer", Brightness())
    assert explainer.concepts == 3
    assert len(explainer.explain(pictures(2, True))) == 2
