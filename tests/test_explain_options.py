"""Options that would do nothing are refused; those that decide on an explainer are recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ifnormal.common.errors import UserError
from ifnormal.config import (
    DiffusionConfig,
    ExplainConfig,
    FitConfig,
    Preprocessing,
)
from ifnormal.config.diffusion import InversionConfig
from ifnormal.jobs.explain_options import ExplainOptions
from ifnormal.jobs.fit_notes import fit_notes


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"explain": {"threshold": 0.3}}, "--threshold cannot change"),
        ({"explain": {"normal": Path("x"), "size": 32}}, "--normal, --size cannot change"),
        ({"explain": {"higher_is": "normal"}}, "--higher-is cannot change"),
        ({"preprocessing": Preprocessing(mean=(0.5,))}, "--preprocessing cannot change"),
        ({"fit": FitConfig(steps=3)}, "--fit cannot change"),
        ({"diffusion": DiffusionConfig(InversionConfig(steps=3))}, "--diffusion cannot change"),
    ],
)
def test_what_a_fitted_explainer_refuses(changed: dict[str, Any], told: str) -> None:
    explain = ExplainConfig(explainer=Path("fitted"), **changed.pop("explain", {}))
    with pytest.raises(UserError, match=told):
        ExplainOptions(explain, **changed).refuse_fit_options()


def test_what_a_fitted_explainer_takes() -> None:
    explain = ExplainConfig(explainer=Path("fitted"), detector="a.onnx", seed=3, all=True)
    ExplainOptions(explain).refuse_fit_options()


def test_what_a_calibrated_detector_refuses() -> None:
    taken = ExplainConfig(detector="run", normal=Path("x"), outliers=Path("y"))
    ExplainOptions(taken, fit=FitConfig(steps=3)).refuse_calibration_options()
    refused = ExplainConfig(detector="run", normal=Path("x"), false_alarm_rate=0.1)
    with pytest.raises(UserError, match="--false-alarm-rate cannot change run"):
        ExplainOptions(refused).refuse_calibration_options()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "--normal"),
        ({"detector": "a.onnx"}, "--normal"),
        ({"detector": "a.onnx", "normal": Path("x"), "of": 2}, "Shards share one explainer"),
        ({"detector": "a.onnx", "normal": Path("/nowhere")}, "/nowhere does not exist"),
    ],
)
def test_what_a_fit_needs(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        ExplainOptions(ExplainConfig(**given)).require_fittable()


def test_the_record_has_what_decides_on_an_explainer() -> None:
    record = ExplainOptions(ExplainConfig(detector="a.onnx", threshold=2.0)).record()
    assert (record["explain"]["threshold"], record["explain"]["seed"]) == (2.0, 0)
    assert record["fit"]["steps"] == FitConfig().steps
    assert "diffusion" not in record
    same = ExplainOptions(ExplainConfig(detector="a.onnx", threshold=2.0, all=True, refine=True))
    assert same.record() == record, "what is explained and how it is improved may change"


def test_the_record_of_a_diffusion_model_counts_its_prompts() -> None:
    config = ExplainConfig(generator="inversion", backbone="b", prompt=("a", "b", "c"))
    assert ExplainOptions(config).record()["diffusion"]["inversion"]["concepts"] == 3


def test_notes_of_a_fit() -> None:
    assert fit_notes({}) == []
    facts: dict[str, Any] = {
        "contract": {"notes": ["The detector is not deterministic."]},
        "synthetic_outliers": {"flagged": 1900, "made": 2000},
        "expected": {"edited_at": [32, 48], "largest_there": 0.5, "tolerance": 0.1},
    }
    first, second, third = fit_notes(facts)
    assert first == "The detector is not deterministic."
    assert second.startswith("At 32x48, where images are edited")
    assert third.startswith("The detector flags 1,900 of 2,000 synthetic outliers; the explainer")
    quality = {"rated": 200, "useless": 50, "indistinguishable": 40, "unrealistic": 10}
    facts["synthetic_outliers"]["quality"] = quality
    assert fit_notes(facts)[3].startswith(
        "Of 200 synthetic outliers that were rated, 50 are useless"
    )
    facts["expected"] = {"edited_at": [32, 48], "largest_there": 0.05, "tolerance": 0.1}
    del facts["synthetic_outliers"]["quality"]
    assert len(fit_notes({**facts, "generator": "inversion"})) == 2
    assert fit_notes({**facts, "generator": "inversion"})[1].endswith("synthetic outliers.")
