"""What is told of a folder before anything is trained on it, and how it is printed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ifnormal.cli import main
from ifnormal.common.errors import printable
from ifnormal.data.files.finding import find_images
from ifnormal.data.files.survey import survey
from wild_corpus import BOMBS, CASES, NAMES, Bad, Good, write
from wild_files import encoded, picture

GOOD = [case for case in CASES if isinstance(case, Good)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file of the corpus."""
    folder = tmp_path_factory.mktemp("wild")
    for case in CASES:
        write(case, folder)
    return folder


class TestSurvey:
    def test_counts_by_hand(self, tmp_path: Path) -> None:
        contents = {
            "a.png": encoded(picture(size=(8, 8))),
            "b.png": encoded(picture(size=(8, 8))),
            "c.png": encoded(picture("L", color=1, size=(16, 16))),
            "d.jpg": encoded(picture(size=(4, 2)), "JPEG"),
            "e.png": encoded(picture(size=(8, 8))),
            "f.png": b"",
        }
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        told: list[tuple[int, int]] = []
        found = survey(find_images([tmp_path]), lambda *counts: told.append(counts))
        assert told == [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 1)]
        assert found.good == 5
        assert [bad.reason for bad in found.bad] == ["it is empty"]
        assert found.formats == {"PNG": 4, "JPEG": 1}
        assert found.modes == {"RGB": 4, "L": 1}
        assert found.sizes == {(8, 8): 3, (16, 16): 1, (2, 4): 1}
        assert [[Path(path).name for path in group] for group in found.same] == [
            ["a.png", "b.png", "e.png"]
        ]
        assert found.scaling((8, 8)) == {"kept": 3, "reduced": 1, "enlarged": 1, "stretched": 1}
        assert found.scaling((4, 8)) == {"kept": 0, "reduced": 4, "enlarged": 1, "stretched": 4}


class TestCheckData:
    def run(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
        code = main(["check-data", *map(str, arguments)])
        return code, *capsys.readouterr()

    def test_lists_the_bad_and_counts_the_good(
        self, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        target = tmp_path / "found.json"
        code, out, err = self.run(capsys, corpus, "--size", 32, "--json", target)
        assert (code, err) == (0, "")
        found = json.loads(target.read_text())
        assert out.startswith(f"{len(GOOD)} of {found['files']} images can be read.")
        assert found["good"] == len(GOOD) == sum(found["formats"].values())
        assert sum(size["images"] for size in found["sizes"]) == len(GOOD)
        assert [out.count(f"/{case.name}: ") for case in BOMBS if "float" not in case.name] == [
            1
        ] * len(BOMBS)
        assert f"{corpus}/half.png: it is truncated\n" in out
        assert {"path": f"{corpus}/half.png", "reason": "it is truncated"} in found["bad"]
        assert found["scaling"]["to"] == [32, 32]
        assert "Brought to 32 x 32: 0 kept" in out

    def test_hostile_names_do_nothing_to_the_terminal(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for case in NAMES:
            (tmp_path / case.name).write_bytes(b"x")
        code, out, err = self.run(capsys, tmp_path, "--json", tmp_path / "found.json")
        assert code == 2
        assert all(line.isprintable() for line in (out + err).split("\n"))
        assert out.count(": it is of no known image format\n") == len(NAMES)
        assert "\\x1b[2J\\x1b]0;title\\x07.png" in out
        assert "日本語 картинка ملف.png" in out
        assert err.startswith(f"ifnormal: {len(NAMES)} of {len(NAMES)} images cannot be read, ")
        assert err.count("\n") == 1
        paths = [bad["path"] for bad in json.loads((tmp_path / "found.json").read_text())["bad"]]
        assert sorted(os.listdir(tmp_path)) == sorted(  # noqa: PTH208
            ["found.json", *(Path(path).name for path in paths)]
        )

    def test_exit_codes(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write(Good("good.png", encoded(picture())), tmp_path)
        assert self.run(capsys, tmp_path, "--on-bad-image", "error")[::2] == (0, "")
        write(Bad("bad.png", b"", ""), tmp_path)
        assert self.run(capsys, tmp_path)[::2] == (0, "")
        code, out, err = self.run(capsys, tmp_path, "--on-bad-image", "error")
        assert code == 2
        assert "1 of 2 images can be read.\n" in out
        assert err == (
            f"ifnormal: 1 of 2 images cannot be read, the first is {tmp_path}/bad.png "
            "(it is empty); restore them or leave them out.\n"
        )
        code, out, err = self.run(capsys, tmp_path / "gone")
        assert code == 2
        assert "No such file or directory" in err

    def test_mistakes_are_named(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "a\x1b[1m").mkdir()
        assert "a\\x1b[1m holds no images" in self.run(capsys, tmp_path / "a\x1b[1m")[2]
        write(Good("good.png", encoded(picture())), tmp_path)
        for size in ("0", "wide", "[8]", "[8,0]", "-4"):
            code, out, err = self.run(capsys, tmp_path, "--size", size)
            assert (code, out) == (2, "")
            assert err.startswith("ifnormal: --size ")
        assert "Brought to 8 x 9: " in self.run(capsys, tmp_path, "--size", "[8,9]")[1]


def test_printable_writes_out_what_a_terminal_would_act_on() -> None:
    assert printable("straße/日本.png") == "straße/日本.png"
    assert printable("a\nb\x1b[2J\u202e\udcff") == r"a\nb\x1b[2J\u202e\udcff"
    assert printable(printable("\x07\t")) == r"\x07\t"
