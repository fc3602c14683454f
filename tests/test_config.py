"""Options are checked when made, and reading them needs no torch."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from ifnormal import config
from ifnormal.common.errors import UserError
from ifnormal.config import (
    DataConfig,
    DemoConfig,
    DetectorConfig,
    FitConfig,
    GeneratorConfig,
    Objective,
    Weights,
    adapted_to,
)

CONFIGS = [
    value
    for value in vars(config).values()
    if dataclasses.is_dataclass(value) and isinstance(value, type)
]

REFUSED: list[tuple[type, dict[str, Any], str]] = [
    (DataConfig, {"normal_digit": -1}, "normal_digit"),
    (DataConfig, {"normal_digit": 10}, "normal_digit"),
    (DataConfig, {"colors_per_digit": "some"}, "colors_per_digit must be one of one, all"),
    (DataConfig, {"drawings": 199}, "drawings"),
    (DataConfig, {"drawings": -1}, "drawings"),
    (DataConfig, {"outliers": 31}, "outliers"),
    (DetectorConfig, {"objective": "bec"}, "objective must be one of bce, hsc, dsvdd"),
    (DetectorConfig, {"steps": 0}, "steps"),
    (DetectorConfig, {"batch_size": 1}, "batch_size"),
    (DetectorConfig, {"false_alarm_rate": 0.0}, "false_alarm_rate"),
    (DetectorConfig, {"false_alarm_rate": 1.0}, "false_alarm_rate"),
    (DetectorConfig, {"learning_rate": 0.0}, "learning_rate"),
    (DetectorConfig, {"learning_rate": math.nan}, "learning_rate"),
    (DetectorConfig, {"learning_rate": math.inf}, "learning_rate"),
    (DetectorConfig, {"width": 0}, "width"),
    (GeneratorConfig, {"width": 3}, "width"),
    (GeneratorConfig, {"outer_blocks": 0}, "outer_blocks"),
    (GeneratorConfig, {"inner_blocks": 0}, "inner_blocks"),
    *((Weights, {field.name: -0.1}, field.name) for field in dataclasses.fields(Weights)),
    (Weights, {"gan": math.nan}, "gan"),
    (Weights, {"gan": math.inf}, "gan"),
    (FitConfig, {"concepts": 0}, "concepts"),
    (FitConfig, {"steps": 0}, "steps"),
    (FitConfig, {"batch_size": 0}, "batch_size"),
    (FitConfig, {"learning_rate": 0.0}, "learning_rate"),
    (FitConfig, {"classifier_learning_rate": -1.0}, "classifier_learning_rate"),
    (FitConfig, {"decay": 1.1}, "decay"),
    (FitConfig, {"decay": -0.1}, "decay"),
    (FitConfig, {"ema": 1.0}, "ema"),
    (FitConfig, {"ema": -0.1}, "ema"),
    (FitConfig, {"generator_loss": "log"}, "generator_loss must be one of linear, hinge"),
    (FitConfig, {"concept_space": "both"}, "concept_space must be one of pixels, features"),
    (FitConfig, {"concept_noise": -1.0}, "concept_noise"),
    (FitConfig, {"diversity_margin": -0.1}, "diversity_margin"),
    (FitConfig, {"targets_zero": -0.1}, "targets_zero"),
    (FitConfig, {"targets_one": -0.1}, "targets_one"),
    (FitConfig, {"targets_zero": 0.6, "targets_one": 0.5}, "together"),
    (FitConfig, {"discriminator_width": 0}, "discriminator_width"),
    (FitConfig, {"checkpoint_every": 0}, "checkpoint_every"),
    (FitConfig, {"precision": "16"}, "precision must be one of auto, bf16-mixed, 32-true"),
    (DemoConfig, {"objective": "bec"}, "objective must be one of"),
    (DemoConfig, {"budget": "large"}, "budget must be one of smoke, small, paper"),
    (DemoConfig, {"concepts": 0}, "concepts"),
    (DemoConfig, {"seed": -1}, "seed"),
]


@pytest.mark.parametrize(("kind", "options", "message"), REFUSED)
def test_refused(kind: type, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        kind(**options)
    assert str(error.value).endswith("."), "a sentence"


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (DataConfig, {"normal_digit": 0, "drawings": 200, "outliers": 32}),
        (DataConfig, {"normal_digit": 9, "data_root": Path("data")}),
        (DetectorConfig, {"steps": 1, "batch_size": 2, "false_alarm_rate": 0.001}),
        (GeneratorConfig, {"width": 4}),
        (Weights, dict.fromkeys((field.name for field in dataclasses.fields(Weights)), 0.0)),
        (FitConfig, {"concepts": 1, "decay": 0.0, "ema": 0.0, "targets_zero": 1, "targets_one": 0}),
        (DemoConfig, {"concepts": 1, "budget": "paper"}),
    ],
)
def test_the_outermost_values_are_taken(kind: type, options: dict[str, Any]) -> None:
    made = kind(**options)
    assert {name: getattr(made, name) for name in options} == options


@pytest.mark.parametrize("kind", CONFIGS)
class TestEveryConfig:
    def test_defaults_are_valid_and_frozen(self, kind: type) -> None:
        made = kind()
        assert made == kind()
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, dataclasses.fields(kind)[0].name, None)

    def test_every_option_is_explained(self, kind: type) -> None:
        """The help of the command line is made of these texts."""
        texts = [part.__doc__ or "" for part in kind.__mro__]
        explained = "".join(text.partition("Attributes:")[2] for text in texts)
        lines = [line.partition(":")[0] for line in explained.splitlines() if ":" in line]
        names = {name.strip() for line in lines for name in line.split(",")}
        assert {field.name for field in dataclasses.fields(kind)} <= names


def test_the_command_line_knows_every_detector_objective() -> None:
    from ifnormal.detectors.builtin.kinds import KINDS

    assert set(get_args(Objective)) == set(KINDS)


@pytest.mark.parametrize("module", ["ifnormal", "ifnormal.config", "ifnormal.common.storage"])
def test_import_without_heavy_libraries(module: str) -> None:
    heavy = {"torch", "lightning_fabric", "torchmetrics", "PIL", "jinja2", "rich"}
    code = f"import sys, {module}; print(*({heavy!r} & sys.modules.keys()))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.split() == []


class TestAdaptedTo:
    def test_small_images_keep_the_weights(self) -> None:
        for side in (8, 32, 48):
            assert adapted_to(FitConfig(), side) == FitConfig()

    def test_large_images_weigh_the_score_less_and_the_image_more(self) -> None:
        given = FitConfig(steps=7)
        large = adapted_to(given, 128)
        assert large.steps == 7
        assert large.weights.score < given.weights.score
        assert large.weights.minimality > given.weights.minimality
        assert large.weights.reconstruction > given.weights.reconstruction
        assert large.weights.cycle == given.weights.cycle
        assert adapted_to(large, 128) == large

    def test_chosen_weights_stay(self) -> None:
        given = FitConfig(weights=Weights(gan=0.7))
        assert adapted_to(given, 128) == given
