"""Every `explain` asks two independent detectors, of other kinds, about every counterfactual."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ifnormal.cli import main
from ifnormal.common.pixels import to_pil
from ifnormal.config import DetectorConfig
from ifnormal.data.setups.given_images import setup_of_images
from ifnormal.detectors.builtin.feature_detector import FeatureDetector
from ifnormal.detectors.builtin.training import train_detector, train_detectors
from ifnormal.detectors.detector import log_odds_of
from ifnormal.explanation.explanation import Explanation
from ifnormal.jobs.second_opinion import chosen_kinds, independent_detectors, load_independent
from known_detectors import blue, mean_color, red

MODULE = """
def redness(images):
    return 100 * (images[:, 0] - images[:, 2]).mean((1, 2))
"""
FIT = (
    "--fit.steps 2 --fit.checkpoint-every 2 --fit.batch-size 4 --fit.generator.width 4 "
    "--fit.generator.inner-blocks 1 --fit.discriminator-width 4 --fit.precision 32-true"
)
GIVEN = "odd --detector own_module:redness --normal normal --outliers outliers --traversal-steps 0"
TRAINING = "ifnormal.jobs.second_opinion.train_detectors"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with normal/, odd/, outliers/ and a detector of the user's."""
    for name, images in (("normal", blue(40)), ("odd", red(3)), ("outliers", red(12, seed=2))):
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            to_pil(image).save(tmp_path / name / f"{number:02}.png")
    (tmp_path / "own_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def explain(arguments: str) -> int:
    return main(["explain", *arguments.split()])


def document(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "explanation.json").read_text())
    return read


def test_every_edit_has_two_opinions_of_its_final_pixels(here: Path) -> None:
    assert explain(f"{GIVEN} --thrift --out out {FIT}") == 0
    asked = load_independent(here / "out" / "second-opinion")
    assert list(asked.detectors) == ["padim", "mvg"]
    assert [one.normal_images for one in asked.facts] == [8, 8]
    assert sum(asked.normal_accepted_by) == 8
    saved = Explanation.load(here / "out")
    assert saved.second_opinion is not None
    for d, detector in enumerate(asked.detectors.values()):
        for images, scores in (
            (saved.anomalies, saved.second_opinion.scores_before[:, d]),
            (saved.counterfactuals.flatten(0, 1), saved.second_opinion.scores_after[..., d]),
        ):
            expected = log_odds_of(detector, images).sigmoid()
            torch.testing.assert_close(scores.flatten(), expected, atol=1e-4, rtol=1e-3)
    entry = document(here / "out")["images"][0]["counterfactuals"][0]
    assert [opinion["detector"] for opinion in entry["second_opinion"]] == ["padim", "mvg"]


def test_they_are_trained_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert explain(f"{GIVEN} --out out {FIT}") == 0
    monkeypatch.setattr(TRAINING, None)
    assert explain(f"{GIVEN} --out out {FIT}") == 0, "the same call again"
    by = "--explainer out --detector own_module:redness"
    assert explain(f"odd {by} --traversal-steps 0 --out again") == 0
    assert document(here / "again")["images"] == document(here / "out")["images"]
    assert not (here / "again" / "second-opinion").exists()


def test_training_that_is_broken_off_is_done_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("ifnormal.jobs.second_opinion.write_json", die)
        assert explain(f"{GIVEN} --out out {FIT}") == 130
    assert explain(f"{GIVEN} --out out {FIT}") == 0
    assert document(here / "out")["images"][0]["second_opinion"]


def test_without(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(f"{GIVEN} --no-second-opinion --out out {FIT}") == 0
    assert "second opinion" not in capsys.readouterr().out
    assert not (here / "out" / "second-opinion").exists()
    assert not document(here / "out").get("second_opinion")
    by = "--explainer out --detector own_module:redness"
    assert explain(f"odd {by} --out again") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("There is no second opinion. out/second-opinion holds no independent")


def test_images_that_nothing_can_be_learned_from(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(f"{GIVEN} --no-second-opinion --out out {FIT}") == 0
    for number, path in enumerate(sorted((here / "normal").iterdir())):
        level = 90 if number % 2 else 91
        to_pil(torch.full((3, 16, 16), level, dtype=torch.uint8)).save(path)
    assert explain(f"{GIVEN} --out out {FIT}") == 0
    said = capsys.readouterr().out
    assert "There is no second opinion. A detector is trained on at least 4 different" in said
    assert document(here / "out")["images"]


def test_a_damaged_folder_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(f"{GIVEN} --out out {FIT}") == 0
    (here / "out" / "second-opinion" / "opinion.json").write_text("{}")
    assert explain(f"{GIVEN} --out out {FIT} --fresh") == 0, "it is ours to make anew"
    (here / "out" / "second-opinion" / "opinion.json").write_text("{}")
    by = "--explainer out --detector own_module:redness"
    assert explain(f"odd {by} --out again") == 0
    assert "opinion.json is not as this version" in capsys.readouterr().out


def test_kinds_differ_from_the_explained_one() -> None:
    setup = setup_of_images(blue(40), 0, synthetic=0)
    assert chosen_kinds(mean_color()) == ("padim", "mvg")
    for kind in ("padim", "mvg"):
        config = DetectorConfig(objective=kind, features_side=32)
        kinds = chosen_kinds(train_detector(setup, config, 0))
        assert kind not in kinds
        assert len(set(kinds)) == len(kinds)


def test_many_images_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ifnormal.jobs.second_opinion.MOST_NORMAL", 40)
    setup = setup_of_images(torch.cat([blue(60), blue(60, seed=5)]), 0, synthetic=0)
    found = independent_detectors(mean_color(), setup, 0)
    assert [one.normal_images for one in found.facts] == [6, 6]


def test_features_are_computed_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of_images(blue(24), 0, synthetic=0)
    configs = [DetectorConfig(objective=kind, features_side=32) for kind in ("padim", "mvg")]
    alone = [train_detector(setup, config, 0) for config in configs]
    assert isinstance(alone[0], FeatureDetector)
    network, counts = type(alone[0].extractor), []
    compute = network.compute_maps

    def counted(self: Any, images: torch.Tensor, stages: Any) -> Any:
        counts.append(len(images))
        return compute(self, images, stages)

    monkeypatch.setattr(network, "compute_maps", counted)
    together = train_detectors(setup, configs, 0)
    assert sum(counts) == len(setup.train_normal) + len(setup.validation_normal) + len(
        setup.validation_outliers
    )
    for one, other in zip(alone, together, strict=True):
        assert one.threshold == pytest.approx(other.threshold, abs=1e-5)
        torch.testing.assert_close(log_odds_of(one, red(3)), log_odds_of(other, red(3)))
