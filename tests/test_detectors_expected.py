"""Expected scores: files of them, whose they are, and how far off."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.expected import check_expected, match_expected, read_expected


def write(folder: Path, text: str) -> Path:
    path = folder / "scores.csv"
    path.write_text(text, encoding="utf-8")
    return path


class TestReading:
    @pytest.mark.parametrize(
        "text",
        [
            "a.png,1.5\nb/ü c.png,-2e3\n",
            "path,score\na.png,1.5\nb/ü c.png,-2e3",
            "\ufefffile,anomaly score,label\r\na.png,1.5,x\r\n\r\n b/ü c.png , -2000 ,y\r\n",
            'a.png,1.5\n"b\\ü c.png",-2000\n',
        ],
    )
    def test_headings_or_none_quotes_and_empty_lines(self, tmp_path: Path, text: str) -> None:
        assert read_expected(write(tmp_path, text)) == {"a.png": 1.5, "b/ü c.png": -2000.0}

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "holds no scores"),
            ("path,score\n", "holds no scores"),
            ("a.png,1\nb.png,high\n", "line 2"),
            ("a.png,1\nb.png,nan\n", "line 2"),
            ("a.png,1\nb.png\n", "line 2"),
        ],
    )
    def test_refusals_name_the_line(self, tmp_path: Path, text: str, words: str) -> None:
        with pytest.raises(UserError, match=words):
            read_expected(write(tmp_path, text))

    def test_a_file_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="cannot be read"):
            read_expected(tmp_path / "none.csv")
        (tmp_path / "image.png").write_bytes(b"\x89PNG\xff\xfe")
        with pytest.raises(UserError, match="cannot be read"):
            read_expected(tmp_path / "image.png")


class TestMatching:
    def test_by_path_and_by_name(self) -> None:
        expected = {"good/1.png": 1.0, "bad/1.png": 2.0, "x.png": 3.0, "/data/other/y.png": 4.0}
        names = ["set/bad/1.png", "photos/x.png", "y.png", "set/good/1.png", "z.png"]
        assert match_expected(expected, names) == {0: 2.0, 1: 3.0, 2: 4.0, 3: 1.0}

    def test_another_folder_does_not_take_what_is_someones(self) -> None:
        expected = {"normal/1.png": 1.0, "normal/2.png": 2.0}
        names = ["normal/1.png", "normal/2.png", "new/1.png", "new/2.png", "new/3.png"]
        assert match_expected(expected, names) == {0: 1.0, 1: 2.0}

    def test_the_same_name_twice_is_nobodys(self) -> None:
        assert match_expected({"a/1.png": 1.0, "b/1.png": 2.0}, ["1.png", "c/1.png"]) == {}


class TestComparing:
    def test_equal_scores(self) -> None:
        scores = torch.tensor([1.0, 2, 3, 99])
        facts = check_expected(scores, ["a", "b", "c", "d"], {"a": 1.001, "b": 2.0, "c": 3.0}, "it")
        assert facts["images"] == 3
        assert facts["largest"] == pytest.approx(0.001, rel=1e-3)
        assert facts["mean"] == pytest.approx(0.001 / 3, rel=1e-3)
        assert facts["tolerance"] == pytest.approx(0.05 * 1.999 + 0.003)
        assert facts["correlation"] == pytest.approx(1, abs=1e-5)

    def test_other_scores_name_the_worst(self) -> None:
        with pytest.raises(UserError) as refusal:
            check_expected(
                torch.tensor([1.0, 2, 4]), ["a", "b", "c"], {"a": 1.0, "b": 2.0, "c": 3.0}, "it"
            )
        message = str(refusal.value)
        assert message.startswith("it scores c 4, but 3 is expected; 67% of 3 images")
        assert "correlation is 0.982" in message
        for cause in ("interpolation", "mean and std", "BGR", "0..255"):
            assert cause in message

    def test_none_of_them(self) -> None:
        with pytest.raises(UserError, match=r"None of the 1 expected scores .* a\.png and b\.png"):
            check_expected(torch.tensor([1.0]), ["b.png"], {"a.png": 1.0}, "it")

    def test_an_image_that_could_not_be_read_has_no_score(self) -> None:
        with pytest.raises(UserError, match=r"an image that can be read; restore a\.png"):
            check_expected(torch.zeros(0), ["a.png"], {"a.png": 1.0}, "it")

    def test_a_constant_has_no_correlation(self) -> None:
        facts = check_expected(torch.ones(2), ["a", "b"], {"a": 1.0, "b": 1.0}, "it")
        assert facts["correlation"] == 0
