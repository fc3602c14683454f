"""The comparison of diffusion methods: what it plans, counts and draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from PIL import Image
from torch import Tensor

from ifnormal.benchmarks.experiment import Finished, Selection
from ifnormal.benchmarks.experiments.diffusion import (
    COLUMNS,
    EXPERIMENT,
    METHODS,
    asked_classes,
    of_flagged,
    write_methods,
)
from ifnormal.benchmarks.pictures import ACCEPTED, FLAGGED
from ifnormal.benchmarks.sweep import planned
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.explanation.explanation import Explanation


def test_one_prompt_is_a_method_of_its_own_only_where_several_classes_are_normal() -> None:
    signs = {run.variant for run in planned("diffusion", Selection(only="gtsrb/*"))}
    ships = {run.variant for run in planned("diffusion", Selection(only="cifar10/*"))}
    assert signs == set(METHODS)
    assert signs - ships == {"inversion-one"}


@pytest.mark.parametrize(
    ("prompts", "classes"),
    [(["b", "a", "b"], [1, 0, 1]), (["a", "all"], None), (["a", "a"], None), ([], None)],
)
def test_prompts_that_name_classes_are_known(prompts: list[str], classes: list[int] | None) -> None:
    setup = SimpleNamespace(attribute_names={"class": ("a", "b", "c")})
    assert asked_classes(prompts, cast(AnomalySetup, setup)) == classes


def test_figures_count_flagged_anomalies_alone(
    make_explanation: Callable[..., Explanation],
) -> None:
    """By hand: two flagged anomalies with two edits each; one edit is refused, one is no normal."""
    explanation = make_explanation(n=3, k=2, channels=3)
    object.__setattr__(explanation, "calibrated_scores_before", torch.tensor([0.9, 0.1, 0.8]))
    object.__setattr__(explanation, "calibrated_threshold", 0.5)
    scores = torch.tensor([[0.1, 0.2], [0.9, 0.9], [0.1, 0.7]])
    object.__setattr__(explanation, "calibrated_scores_after", scores)

    class Judge:
        def predict(self, images: Tensor) -> dict[str, Tensor]:
            seen = torch.tensor([[1, 2], [1, 1], [1, 2]])
            return {"class": seen if len(images) == 3 else seen[[0, 2]]}

    setup = SimpleNamespace(
        test_anomalies=explanation.anomalies,
        attributes={"test_anomalies": {"class": torch.tensor([7, 7, 7])}},
        normal_attributes={"class": (1, 2)},
    )
    found = of_flagged(explanation, cast(AnomalySetup, setup), Judge(), [1, 1])
    assert found["flagged"] == 2
    assert found["valid"] == found["valid_and_true"] == 75
    assert found["distinct"] == 1.5
    assert found["as_named"] == pytest.approx(100 * 2 / 3)


def test_sheet_shows_every_method_with_the_detectors_word(
    tmp_path: Path, make_explanation: Callable[..., Explanation]
) -> None:
    one, other = (make_explanation(n=2, k=k, channels=3) for k in (1, 3))
    path = write_methods(tmp_path / "sheet.png", {"first": one, "second": other}, rows=1)
    with Image.open(path) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(10**6) or []}
        narrow = image.width
    scores = [
        one.calibrated_scores_before[0],
        one.calibrated_scores_after[0, 0],
        *other.calibrated_scores_after[0],
    ]
    expected = {FLAGGED if score > one.calibrated_threshold else ACCEPTED for score in scores}
    assert colours & {FLAGGED, ACCEPTED} == expected
    path = write_methods(tmp_path / "wide.png", {"a": other, "b": other}, rows=1)
    with Image.open(path) as image:
        assert image.width > narrow


def test_rows_tell_the_mean_and_deviation_over_seeds(tmp_path: Path) -> None:
    runs = planned("diffusion", Selection(only="gtsrb/*", seeds=(0, 1)))
    chosen = [run for run in runs if run.variant == "diffedit-1.5"]
    done = [
        Finished(run, {"valid": 90.0 + 4 * run.seed, "distinct": None}, tmp_path) for run in chosen
    ]
    (table,) = EXPERIMENT.tables(runs, done)
    row = dict(zip(COLUMNS, table.rows["DiffEdit, threshold 1.5"], strict=True))
    assert row["valid"].mean == 92
    assert row["valid"].deviation == pytest.approx(8**0.5)
    assert row["distinct"].text == "does not apply"
    assert row["valid"].runs == 2
