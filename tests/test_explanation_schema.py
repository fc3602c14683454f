"""The schema says what is written, and notices what would not be."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator

from ifnormal.common.pixels import png_bytes
from ifnormal.common.storage import read_json
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.document import SCHEMA_VERSION
from ifnormal.explanation.entries import SecondDetector
from ifnormal.explanation.explanation import Explanation
from ifnormal.explanation.opinions import Opinions
from ifnormal.jobs.stream import explain_images
from known_detectors import blue, mean_color, red, tiny

SCHEMA = json.loads(
    (files("ifnormal") / "explanation" / "explanation.schema.json").read_text("utf-8")
)
ROOT = Path(__file__).parents[1]


def errors(document: dict[str, Any]) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(document)]


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of images of every kind: explained and not, and skipped."""
    folder = tmp_path_factory.mktemp("streamed")
    paths = []
    for n, image in enumerate([*blue(2), *red(3)]):
        paths.append(folder / f"{n}.png")
        paths[-1].write_bytes(png_bytes(image))
    (folder / "<b>.png").write_bytes(b"no image")
    explainer = Explainer(mean_color(), tiny(steps=2)).fit(blue(), red())
    explain_images(explainer, [*paths, folder / "<b>.png"], folder / "out")
    return read_json(folder / "out" / "explanation.json")


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_what_is_streamed_fits(streamed: dict[str, Any]) -> None:
    assert errors(streamed) == []
    assert {image["file"] is None for image in streamed["images"]} == {True, False}
    assert len(streamed["skipped"]) == 1


@pytest.mark.parametrize(
    "numbers", [{}, {"n": 0, "m": 0}, {"k": 1, "m": 0, "t": 0}, {"channels": 1, "m": 3}], ids=str
)
def test_what_is_saved_fits(
    make_explanation: Callable[..., Explanation], tmp_path: Path, numbers: dict[str, int]
) -> None:
    make_explanation(**numbers).save(tmp_path)
    assert errors(read_json(tmp_path / "explanation.json")) == []


@pytest.fixture
def with_opinions(make_explanation: Callable[..., Explanation], tmp_path: Path) -> dict[str, Any]:
    """Of three anomalies with two concepts, each seen by one independent detector."""
    detector = SecondDetector("mvg", 0.5, 20, 0.95, 0.9)
    opinions = Opinions((detector,), torch.rand(3, 1), torch.rand(3, 2, 1), (1, 19))
    replace(make_explanation(), second_opinion=opinions).save(tmp_path / "opinions")
    return read_json(tmp_path / "opinions" / "explanation.json")


def test_what_is_saved_with_second_opinions_fits(with_opinions: dict[str, Any]) -> None:
    assert errors(with_opinions) == []
    opinion = with_opinions["images"][0]["second_opinion"][0]
    for written, name in (
        (opinion, "opinion"),
        (with_opinions["second_opinion"][0], "second_detector"),
    ):
        schema = SCHEMA["$defs"][name]
        assert set(written) == set(schema["properties"]) == set(schema["required"])
    opinion["score"] = 1.5
    assert errors(with_opinions)


def test_every_key_is_described_and_required(streamed: dict[str, Any]) -> None:
    """A key that is written without a word in the schema would be nobody's promise."""
    image = next(image for image in streamed["images"] if image["file"])
    edit = image["counterfactuals"][0]
    assert edit["traversal"] is not None
    for written, schema in (
        (streamed, SCHEMA),
        (image, SCHEMA["$defs"]["image"]),
        (edit, SCHEMA["$defs"]["counterfactual"]),
        (edit["traversal"], SCHEMA["$defs"]["traversal"]),
        (streamed["skipped"][0], SCHEMA["$defs"]["skipped"]),
    ):
        assert set(written) == set(schema["properties"]) == set(schema["required"])
    assert set(SCHEMA["properties"]["detector"]["required"]) <= set(streamed["detector"])


EXPLAINED = ["images", -1]
EDIT = [*EXPLAINED, "counterfactuals", 0]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (["schema_version"], 1),
        (["format"], "other"),
        (["concepts"], 0),
        (["detector", "higher_is"], "better"),
        (["detector", "shape"], [2, 8, 8]),
        (["images", 0, "score"], None),
        (["images", 0, "counterfactuals"], [{}]),
        ([*EXPLAINED, "calibrated_score"], 1.5),
        ([*EXPLAINED, "file"], None),
        ([*EXPLAINED, "file"], "../secret.png"),
        ([*EXPLAINED, "counterfactuals"], []),
        ([*EDIT, "file"], "images/000000_anomaly.png"),
        ([*EDIT, "valid"], 1),
        ([*EDIT, "traversal", "file"], "images/000000_concept0.png"),
        (["skipped", 0], "photo.png"),
    ],
)
def test_what_is_wrong_is_noticed(streamed: dict[str, Any], where: list[Any], value: Any) -> None:
    document = copy.deepcopy(streamed)
    *way, last = where
    inner: Any = document
    for key in way:
        inner = inner[key]
    inner[last] = value
    assert errors(document)


def test_the_words_name_every_key() -> None:
    text = (ROOT / "docs" / "explanation-format.md").read_text("utf-8")
    keys = set(SCHEMA["properties"])
    for definition in SCHEMA["$defs"].values():
        keys |= set(definition["properties"])
    keys |= set(SCHEMA["properties"]["detector"]["properties"])
    assert [key for key in sorted(keys) if f"`{key}`" not in text] == []


def test_the_example_runs(
    make_explanation: Callable[..., Explanation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (ROOT / "docs" / "explanation-format.md").read_text("utf-8")
    make_explanation().save(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    exec(text.partition("```python\n")[2].partition("```")[0], {})
    assert len(capsys.readouterr().out.splitlines()) == 6
