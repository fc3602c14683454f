"""A fit and an explanation that are killed at random moments go on to the very same end."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from ifnormal.common.storage import read_json

STUDIES = Path(__file__).parents[1] / "studies"


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(STUDIES)
    return importlib.import_module("kill")


@pytest.mark.slow
def test_twenty_kills_of_each(kill: ModuleType, tmp_path: Path) -> None:
    kill.main(["--kills", "20", "--seed", "1", "--out", str(tmp_path / "kill.json")])
    found = read_json(tmp_path / "kill.json")
    assert (found["fit"]["same"], found["explain"]["same"]) == (20, 20)


def test_it_would_notice(kill: ModuleType, tmp_path: Path) -> None:
    """The comparison is no better than what it refuses."""
    good = {"a.png": b"whole", "b.json": b"{}"}
    kill.compare("here", dict(good), good)
    for bad in ({"a.png": b"whole"}, {**good, "c": b""}, {**good, "a.png": b"who"}):
        with pytest.raises(AssertionError, match="here: "):
            kill.compare("here", bad, good)
    for name in ("a.png", ".a.png.0123456789abcdef"):
        (tmp_path / name).write_bytes(b"who")
    assert dict(kill.files(tmp_path)) == {"a.png": b"who"}
