"""One front door: a detector, a folder of normal images and images, to an explanation folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ifnormal.cli import main
from ifnormal.common.pixels import to_float, to_pil
from ifnormal.common.storage import write_json
from ifnormal.detectors.adapted.detector import adapt
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.explanation import Explanation
from ifnormal.jobs.run_folder import update_config
from known_detectors import blue, red

MODULE = """
def redness(images):
    return 100 * (images[:, 0] - images[:, 2]).mean((1, 2))
"""
FIT = (
    "--fit.steps 4 --fit.checkpoint-every 2 --fit.batch-size 4 --fit.generator.width 4 "
    "--fit.generator.inner-blocks 1 --fit.discriminator-width 4 --fit.precision 32-true "
    "--fit.outlier-quality off"
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with normal/, odd/ (one file is broken), outliers/ and a detector of the user's."""
    for name, images in (("normal", blue(40)), ("odd", red(5)), ("outliers", red(12, seed=2))):
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            to_pil(image).save(tmp_path / name / f"{number:02}.png")
    (tmp_path / "odd" / "broken.png").write_bytes(b"\x89PNG")
    to_pil(blue(1, seed=9)[0]).save(tmp_path / "odd" / "fine.png")
    (tmp_path / "own_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def explain(arguments: str) -> int:
    return main(["explain", *arguments.split()])


def document(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "explanation.json").read_text())
    return read


SPEC = "--detector own_module:redness --normal normal"
GIVEN = f"{SPEC} --outliers outliers"  # no time is spent on synthetic ones


def test_from_nothing_to_a_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(f"odd {SPEC} --out out {FIT}") == 0
    said = capsys.readouterr().out
    assert "6 images read, 5 flagged, 1 skipped." in said
    assert "images/s" in said
    assert "synthetic outliers; the explainer learned from these." in said
    assert (here / "out" / "report.html").exists()
    found = document(here / "out")
    assert [Path(image["path"]).name for image in found["images"]] == [
        *(f"0{n}.png" for n in range(5)),
        "fine.png",
    ]
    assert [image["flagged"] for image in found["images"]] == [True] * 5 + [False]
    assert found["skipped"][0]["path"] == "odd/broken.png"
    first = found["images"][0]
    own = 100 * (to_float(red(5))[0, 0] - to_float(red(5))[0, 2]).mean()
    assert first["score"] == pytest.approx(float(own), rel=1e-4)
    for edit in first["counterfactuals"]:
        assert (here / "out" / edit["file"]).exists()
        assert edit["valid"] == (edit["score"] <= found["detector"]["threshold"])
    assert found["detector"]["spec"] == "own_module:redness"


def test_again_by_the_fitted_explainer(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(f"odd {GIVEN} --out out {FIT}") == 0
    assert explain("odd --explainer out --out again") == 2
    assert "--trust" in capsys.readouterr().err, "a folder could name any code"
    assert explain("odd --explainer out --detector own_module:redness --out again --all") == 0
    assert len(Explanation.load(here / "again")) == 6
    once, again = document(here / "out"), document(here / "again")
    assert once["images"][0]["counterfactuals"][0] == again["images"][0]["counterfactuals"][0]
    assert not (here / "again" / "explainer").exists()


def test_a_finished_explainer_is_not_fitted_again(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(f"odd {GIVEN} --out out {FIT}") == 0
    monkeypatch.setattr(Explainer, "fit", None)
    assert explain(f"odd {GIVEN} --out out {FIT}") == 0


def test_min_score_in_the_users_units(here: Path) -> None:
    assert explain(f"odd {GIVEN} --out out {FIT} --min-score 16") == 0
    found = document(here / "out")["images"]
    explained = [image["score"] for image in found if image["counterfactuals"]]
    others = [image["score"] for image in found if not image["counterfactuals"]]
    assert min(explained, default=16) >= 16 > max(others)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (f"missing {GIVEN}", "missing"),
        ("odd --detector own_module:redness", "--normal"),
        ("odd --normal normal --detector own_module:nothing", "correct the attribute"),
        ("odd --normal normal --detector no_such_module:x", "no module"),
        ("odd --normal nowhere --detector own_module:redness", "nowhere"),
        (f"odd {GIVEN} --on-bad-image error {FIT}", "broken.png"),
        (f"odd {GIVEN} --index 1 --of 2", "--explainer"),
        ("--detector own_module:redness", "Name the images"),
        (f"odd {GIVEN} --all --min-score 3", "either all or min_score"),
        ("odd --explainer nowhere", "nowhere"),
        (f"odd {GIVEN} --size 30", "multiple of 4"),
        (f"odd {GIVEN} --channels 2", "channels"),
        (f"odd {GIVEN} --expect missing.csv {FIT}", "missing.csv"),
    ],
)
def test_trouble_is_one_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: str, words: str
) -> None:
    assert explain(f"{arguments} --out out") == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_other_options_in_the_same_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(f"odd {GIVEN} --out out {FIT}") == 0
    assert explain(f"odd {GIVEN} --out out {FIT} --seed 1") == 2
    assert "--fresh" in capsys.readouterr().err
    assert explain(f"odd {GIVEN} --out out {FIT} --seed 1 --fresh") == 0


@pytest.mark.parametrize(
    "option",
    [
        "--threshold 3",
        "--false-alarm-rate 0.1",
        "--expect scores.csv",
        "--normal normal",
        "--preprocessing.bgr true",
        "--fit.steps 7",
        "--black-box",
    ],
)
def test_no_option_is_ignored(here: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert explain(f"odd --explainer somewhere {option} --out out") == 2
    assert "cannot change --explainer" in capsys.readouterr().err


def test_a_save_that_is_broken_off_is_no_explainer(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("ifnormal.explainers.explainer.save_tensors", die)
        assert explain(f"odd {GIVEN} --out out {FIT}") == 130
    assert not (here / "out" / "explainer" / "explainer.json").exists()
    assert explain(f"odd {GIVEN} --out out {FIT}") == 0


def test_a_run_is_no_place_for_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Or its detector, maybe the very one to be explained, would be cleared away."""
    run = here / "run"
    update_config(run, {"data": {}, "seed": 0}, fresh=True)
    write_json(run / "detector" / "detector.json", {"format": "ifnormal.detector"})
    for fresh in ("", " --fresh"):
        assert explain(f"odd {GIVEN} --out run {FIT}{fresh}") == 2
        assert "run holds a run" in capsys.readouterr().err
    assert (run / "detector" / "detector.json").exists()


def test_expected_scores(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    floats = to_float(red(5))
    own = 100 * (floats[:, 0] - floats[:, 2]).mean((1, 2))
    rows = [f"odd/0{n}.png,{score:.6f}" for n, score in enumerate(own.tolist())]
    (here / "scores.csv").write_text("\n".join(["path,score", *rows]))
    assert explain(f"odd {GIVEN} --expect scores.csv --out out {FIT}") == 0
    compared = document(here / "out")["detector"]["expected"]
    assert (compared["images"], compared["edited_at"]) == (5, [16, 16])
    assert compared["largest_there"] == 0, "they are edited in full size"
    capsys.readouterr()
    assert explain(f"odd {GIVEN} --expect scores.csv --out small {FIT} --size 8") == 0
    compared = document(here / "small")["detector"]["expected"]
    assert (compared["largest_there"] > compared["tolerance"]) == (
        "a larger --size" in capsys.readouterr().out
    )
    (here / "scores.csv").write_text("\n".join(row.replace(",", ",9") for row in rows))
    assert explain(f"odd {GIVEN} --expect scores.csv --out other {FIT}") == 2
    assert "is expected" in capsys.readouterr().err


def test_in_python(here: Path) -> None:
    from known_detectors import tiny

    def redness(images: torch.Tensor) -> torch.Tensor:
        return (images[:, 0] - images[:, 2]).mean((1, 2))

    explainer = Explainer(redness, tiny(steps=2)).fit("normal")
    explanation = explainer.explain([Path("odd/00.png"), Path("odd/01.png")])
    assert explanation.names == ("odd/00.png", "odd/01.png")
    assert bool((explanation.own_scores_before > explanation.own_threshold).all())
    explainer.save(here / "saved")
    for given in (redness, adapt(redness, shape=(3, 16, 16))):
        loaded = Explainer.load(here / "saved", given)
        assert loaded.detector.threshold == explainer.detector.threshold
        again = loaded.explain(red(5)[:2])
        assert torch.equal(again.counterfactuals, explanation.counterfactuals)
