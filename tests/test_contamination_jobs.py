"""Folders of normal images with others among them: check-data, explain and the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from ifnormal.cli import main
from ifnormal.common.errors import UserError
from ifnormal.config import ExplainConfig
from ifnormal.data.files.reading import ReadImages
from ifnormal.jobs.contamination import without_suspects
from ifnormal.jobs.explain_options import ExplainOptions
from ifnormal.report.contamination import contamination_sentences, suspects_of
from ifnormal.report.report import write_report


def read(count: int = 40) -> ReadImages:
    images = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8)
    return ReadImages(images, tuple(f"normal/{n:02}.png" for n in range(count)), ())


def fake_scores(monkeypatch: pytest.MonkeyPatch, odd: int) -> None:
    """The last `odd` images are far from the others, which lie evenly."""

    def scores(images: Tensor, *_: object, **__: object) -> Tensor:
        quantiles = torch.linspace(0.01, 0.99, len(images))
        z = torch.erfinv(2 * quantiles - 1) * 2**0.5
        z[len(z) - odd :] = 12
        return torch.exp(0.1 * z)[:, None]

    monkeypatch.setattr("ifnormal.jobs.contamination.cross_fitted_scores", scores)


class TestWithoutSuspects:
    def test_suspects_are_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake_scores(monkeypatch, 4)
        told: list[str] = []
        given = read()
        left, facts = without_suspects(given, "auto", 0, told.append)
        assert torch.equal(left, given.images[:36])
        contamination = facts["contamination"]
        assert contamination["left_out"] == 4
        paths = {suspect["path"] for suspect in contamination["suspects"]}
        assert paths == {f"normal/{n}.png" for n in range(36, 40)}
        assert all(one["picture"].startswith("data:image/") for one in contamination["suspects"])
        assert "of the 40 normal images do not look normal; suspects: 3" in told[0]
        assert told[1] == "Calibration, threshold and fit go without the suspects."
        json.dumps(facts, allow_nan=False)

    def test_a_clean_folder_stays_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake_scores(monkeypatch, 0)
        told: list[str] = []
        left, facts = without_suspects(read(), "auto", 0, told.append)
        assert len(left) == 40
        assert facts["contamination"]["left_out"] == 0
        assert "(0 to" in told[0]

    def test_a_known_share(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake_scores(monkeypatch, 0)
        told: list[str] = []
        left, _ = without_suspects(read(), 0.1, 0, told.append)
        assert len(left) == 36
        assert told[0].startswith("10 % of the 40 normal images are not normal, as was said;")

    def test_nothing_is_asked_for(self) -> None:
        left, facts = without_suspects(read(3), 0.0, 0, pytest.fail)
        assert len(left) == 3
        assert facts == {}

    def test_too_few_images_are_told_of(self) -> None:
        told: list[str] = []
        left, facts = without_suspects(read(19), "auto", 0, told.append)
        assert (len(left), facts) == (19, {})
        assert "at least 20 images" in told[0]


class TestOptions:
    @pytest.mark.parametrize("share", [-0.1, 0.51, float("nan"), "some"])
    def test_refused(self, share: Any) -> None:
        with pytest.raises(UserError, match="contamination must be auto or lie between 0 and"):
            ExplainConfig(contamination=share)

    def test_it_can_do_nothing_for_a_fitted_explainer(self) -> None:
        options = ExplainOptions(ExplainConfig(explainer=Path("x"), contamination="auto"))
        with pytest.raises(UserError, match="--contamination cannot change --explainer"):
            options.refuse_fit_options()

    def test_it_is_recorded(self) -> None:
        record = ExplainOptions(ExplainConfig(contamination=0.1)).record()
        assert record["explain"]["contamination"] == 0.1


FACTS = {
    "images": 200,
    "looked_at": 200,
    "share": 0.04,
    "low": 0.0,
    "high": 0.09,
    "suspects": [
        {"path": "n/a.png", "probability": 0.97, "picture": "data:image/png;base64,AAAA"},
        {"path": "n/<b>.png", "probability": 0.6, "picture": "https://example.org/x.png"},
        "damaged",
        {"probability": 1.0},
    ],
}


class TestWords:
    def test_sentence(self) -> None:
        assert contamination_sentences(FACTS) == [
            "About 4 % (0 to 9 %) of the 200 normal images do not look normal; "
            "suspects: a.png and <b>.png."
        ]

    def test_some_were_looked_at(self) -> None:
        said = contamination_sentences({**FACTS, "images": 5000, "left_out": 0})
        assert "of the 200 of the 5,000 normal images, drawn at random, do not" in said[0]
        assert said[1] == "None was left out, as the folder may as well be clean."

    @pytest.mark.parametrize("facts", [{}, {"share": "x"}, {**FACTS, "low": None}])
    def test_nothing_is_said_of_damaged_facts(self, facts: dict[str, Any]) -> None:
        assert contamination_sentences(facts) == []

    def test_suspects(self) -> None:
        first, second = suspects_of(FACTS)
        assert (first.name, first.probability) == ("n/a.png", "97 %")
        assert first.picture
        assert not second.picture

    def test_report(self, tmp_path: Path, make_explanation: Any) -> None:
        explanation = make_explanation()
        facts = {**explanation.facts, "contamination": FACTS}
        type(explanation)(**{**vars(explanation), "facts": facts}).save(tmp_path)
        page = write_report(tmp_path).read_text()
        assert "Normal images that do not look normal" in page
        assert '<img src="data:image/png;base64,AAAA"' in page
        assert "n/&lt;b&gt;.png" in page
        assert "example.org" not in page
        assert "About 4\u00a0% (0 to 9\u00a0%)" in page


class TestCheckData:
    @pytest.mark.slow
    def test_images_of_many_sizes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for n in range(24):
            size = (10 + n % 5, 12)
            array = torch.randint(60, 200, (size[1], size[0]), dtype=torch.uint8).numpy()
            Image.fromarray(array).save(tmp_path / f"{n:02}.png")
        json_file = tmp_path / "found.json"
        arguments = ["check-data", str(tmp_path), "--contamination", "--json", str(json_file)]
        assert main(arguments) == 0
        assert "of the 24 normal images do not look normal" in capsys.readouterr().out
        found = json.loads(json_file.read_text())["contamination"]
        assert 0 <= found["low"] <= found["share"] <= found["high"] <= 0.5
        assert all("picture" not in suspect for suspect in found["suspects"])

    def test_one_image(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Image.new("L", (8, 8)).save(tmp_path / "a.png")
        assert main(["check-data", str(tmp_path), "--contamination"]) == 2
        said = capsys.readouterr()
        assert "1 of 1 image can be read" in said.out
        assert "at least 20 images, not 1" in said.err
