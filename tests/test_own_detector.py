"""Without a detector: `--detector KIND` trains one on the normal images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ifnormal.cli import main
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_pil
from ifnormal.config import DetectorConfig
from ifnormal.detectors.builtin.by_kind import config_of_kind
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.padim import Padim
from ifnormal.detectors.loading import load_detector
from ifnormal.explainers.explainer import Explainer
from known_detectors import blue, red, tiny

FIT = (
    "--fit.steps 2 --fit.checkpoint-every 2 --fit.batch-size 4 --fit.generator.width 4 "
    "--fit.generator.inner-blocks 1 --fit.discriminator-width 4 --fit.precision 32-true "
    "--traversal-steps 0"
)
GIVEN = "odd --detector padim --normal normal --outliers outliers"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with normal/, odd/ and outliers/."""
    for name, images in (("normal", blue(40)), ("odd", red(3)), ("outliers", red(12, seed=2))):
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            to_pil(image).save(tmp_path / name / f"{number:02}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ifnormal.jobs.own_detector.config_of_kind", quick)
    return tmp_path


def quick(kind: str, false_alarm_rate: float | None = None) -> DetectorConfig:
    return replace(config_of_kind(kind, false_alarm_rate), features_side=64)


def explain(arguments: str) -> int:
    return main(["explain", *arguments.split()])


def document(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "explanation.json").read_text())
    return read


def test_a_kind_in_place_of_a_file(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(f"{GIVEN} --out out {FIT}") == 0
    assert (
        "The detector is of the kind padim, trained on 24 of the normal images"
        in capsys.readouterr().out
    )
    found = document(here / "out")
    assert [image["flagged"] for image in found["images"]] == [True] * 3
    trained = found["facts"]["trained_detector"]
    assert (trained["kind"], trained["trained_on"], trained["held_out"]) == ("padim", 24, 8)
    assert trained["auroc"] > 80
    assert isinstance(load_detector(here / "out" / "explainer"), Padim)

    monkeypatch.setattr(Padim, "fit", None)
    assert explain(f"{GIVEN} --out out {FIT}") == 0, "it is not trained again"
    assert explain(f"odd --explainer out --out again {FIT[FIT.index('--traversal') :]}") == 0
    assert document(here / "again")["images"] == found["images"]


def test_a_fit_that_is_broken_off_keeps_its_detector(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Explainer, "fit", die)
        assert explain(f"{GIVEN} --out out {FIT}") == 130
    assert not (here / "out" / "explainer" / "explainer.json").exists()
    monkeypatch.setattr(Padim, "fit", None)
    assert explain(f"{GIVEN} --out out {FIT}") == 0


def test_other_options_begin_anew(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(f"{GIVEN} --out out {FIT}") == 0
    before = (here / "out" / "explainer" / "detector" / "detector.json").read_text()
    changed = f"{GIVEN} --out out {FIT}".replace("padim", "mvg")
    assert explain(changed) == 2
    assert "detector padim, not mvg" in capsys.readouterr().err
    assert explain(f"{changed} --fresh") == 0
    assert (here / "out" / "explainer" / "detector" / "detector.json").read_text() != before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (f"{GIVEN} --black-box", "--black-box cannot change a detector that is trained here"),
        (f"{GIVEN} --threshold 3", "--threshold cannot change a detector that is trained here"),
        (f"{GIVEN} --preprocessing.bgr true", "--preprocessing cannot change"),
        ("odd --detector padim --explainer out", "--detector cannot change --explainer"),
        ("odd --detector padim", "--normal"),
    ],
)
def test_options_that_would_do_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: str, words: str
) -> None:
    assert explain(f"{arguments} --out out {FIT if 'explainer' not in arguments else ''}") == 2
    assert words in capsys.readouterr().err


def test_a_file_of_that_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "padim").mkdir()
    assert explain(f"{GIVEN} --out out {FIT}") == 0
    assert "./padim names the file or folder" in capsys.readouterr().out
    assert explain(f"{GIVEN.replace('padim', './padim')} --out out2 {FIT}") == 2
    assert "holds no detector" in capsys.readouterr().err


def test_images_that_nothing_can_be_learned_from(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (here / "normal").iterdir():
        to_pil(torch.full((3, 16, 16), 90, dtype=torch.uint8)).save(path)
    assert explain(f"{GIVEN} --out out {FIT}") == 2
    said = capsys.readouterr().err
    assert "at least 4 different normal images, these are 1" in said
    assert said.count("\n") == 1


def test_without_a_name_the_best_kind_is_chosen(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ifnormal.jobs.own_detector.MOST_NORMAL", 36)
    arguments = f"odd --normal normal --outliers outliers --out out {FIT}"
    assert explain(arguments) == 0
    found = document(here / "out")
    trained = found["facts"]["trained_detector"]
    assert (trained["given"], trained["used"]) == (40, 36)
    assert {"mvg", "padim"} <= set(trained["candidates"])
    assert trained["auroc"] == max(trained["candidates"].values())
    assert trained["candidates"][trained["kind"]] == trained["auroc"]
    said = capsys.readouterr().out
    assert "None was named, so the best one was chosen: mvg" in said
    assert "Of 40 normal images, 36 were used for that." in said
    assert "so the best one was chosen" in (here / "out" / "report.html").read_text()
    saved = load_detector(here / "out" / "explainer")
    assert isinstance(saved, BuiltinDetector)
    assert saved.config.objective == trained["kind"]
    monkeypatch.setattr("ifnormal.jobs.own_detector.train_detectors", None)
    assert explain(arguments) == 0, "it is not chosen again"


def test_few_images_of_many_sizes_in_grey(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, path in enumerate(sorted((here / "normal").iterdir())):
        if number >= 12:
            path.unlink()
            continue
        picture = to_pil(blue(1, seed=number)[0]).convert("L")
        picture.resize((16 + 3 * number, 20 + number)).save(path)
    assert explain(f"{GIVEN} --all --out out {FIT} --channels 1") == 0
    assert "12 normal images are few for a detector" in capsys.readouterr().out
    assert document(here / "out")["detector"]["shape"] == [1, 20, 16]


def test_in_python() -> None:
    explainer = Explainer("mvg", tiny(steps=2)).fit(blue(24), red(12), false_alarm_rate=0.2)
    assert explainer.detector.shape == (3, 16, 16)
    assert bool((explainer.explain(red(3)).calibrated_scores_before > 0.5).all())
    with pytest.raises(UserError, match="at least 4 different"):
        Explainer("padim").fit(blue(3), red(12))


def test_only_what_trains_takes_a_kind() -> None:
    with pytest.raises(UserError, match="padim is a kind of detector that is trained first"):
        load_detector("padim")
