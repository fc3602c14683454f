"""Every figure becomes a line of JSON; a resumed log goes on where the run does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ifnormal.common.progress import Progress


def lines(log: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def steps(log: Path) -> list[float]:
    return [line["step"] for line in lines(log)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "new" / "losses.jsonl"


def report(log: Path | None, *at: int, start: int = 0) -> None:
    with Progress("work", 100, log, start=start) as progress:
        for step in at:
            progress.report(step, {"loss": step + 0.123456789})


def test_lines_parse_and_round(log: Path) -> None:
    report(log, 10, 20)
    first, second = lines(log)
    assert first.keys() == {"step", "loss", "seconds"}
    assert (first["step"], first["loss"]) == (10, 10.123)
    assert 0 <= first["seconds"] <= second["seconds"]


def test_lines_are_there_at_once(log: Path) -> None:
    with Progress("work", 100, log) as progress:
        progress.report(10, {"loss": 1.0})
        assert steps(log) == [10]


def test_a_new_run_begins_a_new_log(log: Path) -> None:
    report(log, 10, 20)
    report(log, 30)
    assert steps(log) == [30]


def test_a_resumed_log_drops_what_will_be_done_again(log: Path) -> None:
    report(log, 10, 20, 30, 40)
    report(log, 30, 40, 50, start=20)
    assert steps(log) == [10, 20, 30, 40, 50]


def test_half_a_line_is_dropped(log: Path) -> None:
    report(log, 10, 20)
    with log.open("a") as file:
        file.write('{"step": 15, "lo')
    report(log, 30, start=20)
    assert steps(log) == [10, 20, 30]


def test_resumed_without_a_log(log: Path) -> None:
    report(log, 30, start=20)
    assert steps(log) == [30]


def test_an_error_passes_and_the_log_stays(log: Path) -> None:
    def fail() -> None:
        with Progress("work", 100, log) as progress:
            progress.report(10, {})
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert steps(log) == [10]


def test_quiet_unless_on_a_terminal(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(log, 10)
    report(None, 10)
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal_and_nothing_on_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    report(None, 50)
    out, err = capsys.readouterr()
    assert out == ""
    assert "work" in err
