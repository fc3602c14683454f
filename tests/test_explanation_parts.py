"""Explained in parts, whichever are done by whom and when; and whose files they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import ifnormal.jobs.stream
from explanation_streams import SIZE, Stream, with_detector
from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.data.files.finding import find_images
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.document import read_document
from ifnormal.explanation.explanation import Explanation
from ifnormal.jobs.stream import Streaming, explain_images
from known_detectors import blue, mean_color, red, tiny
from tiny_runs import files as files_in

pytestmark = pytest.mark.usefixtures("small_parts")


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


def test_the_same_again_does_nothing_again(
    stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream()
    before = content(tmp_path / "out")
    monkeypatch.setattr(Explainer, "explain", None)
    summary = stream()
    assert (summary.kept, summary.images_per_second, summary.is_complete) == (29, 0.0, True)
    assert content(tmp_path / "out") == before


def test_broken_off_at_any_part_it_goes_on_to_the_same(
    stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream("whole")
    write_part, written = ifnormal.jobs.stream.write_part, 0

    def break_off(*arguments: object) -> None:
        nonlocal written
        if written == 2:
            raise KeyboardInterrupt
        written += 1
        write_part(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ifnormal.jobs.stream, "write_part", break_off)
    with pytest.raises(KeyboardInterrupt):
        stream()
    assert not (tmp_path / "out" / "explanation.json").exists()
    monkeypatch.setattr(ifnormal.jobs.stream, "write_part", write_part)
    assert stream().kept == 2 * SIZE
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_what_a_kill_left_half_written_goes_away(stream: Stream, tmp_path: Path) -> None:
    """Unless there are other shards, which may be writing it just now."""
    stream("whole")
    stream(index=0, of=2)
    names = ("images/.000003_anomaly.png", "parts/.part-000001.json", ".explanation.json")
    halves = {f"{name}.0123456789abcdef" for name in names}
    for name in halves:
        (tmp_path / "out" / name).write_bytes(b"half")
    stream(index=1, of=2)
    assert halves <= files_in(tmp_path / "out")
    stream()
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_last_shard_puts_everything_together(
    stream: Stream, tmp_path: Path, order: tuple[int, ...]
) -> None:
    stream("whole")
    summaries = [stream(index=index, of=3) for index in order]
    assert [summary.is_complete for summary in summaries] == [False, False, True]
    assert [summary.report is not None for summary in summaries] == [False, False, True]
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert summaries[-1].counts == read_document(tmp_path / "whole").counts


def test_more_shards_than_parts(stream: Stream, tmp_path: Path) -> None:
    for index in range(6):
        summary = stream(index=index, of=6)
    assert summary.is_complete
    assert summary.counts.images == 27


def test_a_damaged_part_is_done_again(stream: Stream, tmp_path: Path) -> None:
    stream()
    out, whole = tmp_path / "out", content(tmp_path / "out")
    names = ["anomaly.png", "heatmap.png", "concept1.png", "concept0_way.png"]
    for name in ["parts/part-000000.json", *(f"images/000003_{kind}" for kind in names)]:
        for damage in (None, whole[name][: len(whole[name]) // 2], whole[name] + b"}"):
            (out / name).unlink()
            if damage is not None:
                (out / name).write_bytes(damage)
            assert stream().kept == 29 - SIZE
            assert content(out) == whole
    assert stream().kept == 29


def other_explainer(explainer: Explainer) -> Explainer:
    return Explainer(mean_color(), tiny(steps=6)).fit(blue(), red(), seed=4)


def other_detector(explainer: Explainer) -> Explainer:
    return with_detector(explainer, mean_color(gain=13.0))


def other_threshold(explainer: Explainer) -> Explainer:
    detector = mean_color()
    detector.threshold = 0.6
    return with_detector(explainer, detector)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_explainer, "another explainer"),
        (other_detector, "scores differently"),
        (other_threshold, "another detector or threshold"),
    ],
)
def test_another_explainer_is_told_apart(
    stream: Stream,
    explainer: Explainer,
    pictures: Path,
    tmp_path: Path,
    change: Callable[[Explainer], Explainer],
    message: str,
) -> None:
    stream()
    before = content(tmp_path / "out")
    with pytest.raises(UserError, match=f"{message}.*--fresh"):
        explain_images(change(explainer), find_images([pictures]), tmp_path / "out")
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"which": "all"}, "which flagged, not all"),
        ({"min_score": 0.25}, "min_score None, not 0.25"),
        ({"on_bad": "error"}, "on_bad skip, not error"),
        ({"traversals": 3}, "traversals None, not 3"),
        ({"traversal_steps": 5}, "traversal_steps 9, not 5"),
        ({"facts": {"refine": True}}, "other options"),
    ],
)
def test_other_options_are_told_apart(
    stream: Stream, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    stream()
    before = content(tmp_path / "out")
    with pytest.raises(UserError, match=f"{message}.*--fresh"):
        stream(**options)
    assert content(tmp_path / "out") == before


def test_other_or_changed_images_are_told_apart(
    explainer: Explainer, pictures: Path, tmp_path: Path
) -> None:
    own = tmp_path / "in"
    own.mkdir()
    for path in find_images([pictures])[:4]:
        (own / path.name).write_bytes(path.read_bytes())
    out, files = tmp_path / "out", find_images([own])
    explain_images(explainer, files, out)
    with pytest.raises(UserError, match=r"other images.*--fresh"):
        explain_images(explainer, files[:3], out)
    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(UserError, match=r"some that have changed since.*--fresh"):
        explain_images(explainer, files, out)
    assert explain_images(explainer, files, out, Streaming(fresh=True)).kept == 0


def test_fresh_removes_the_old_and_nothing_else(stream: Stream, tmp_path: Path) -> None:
    out = tmp_path / "out"
    stream(which="all")
    foreign = ["notes.txt", "images/cat.png", "parts/mine.json", "explainer/explainer.json"]
    for name in foreign:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("the user's own")
    halves = ["images/.000000_anomaly.png.0123456789abcdef", "parts/.job.json.0123456789abcdef"]
    for name in halves:
        (out / name).write_bytes(b"half")
    stream(fresh=True)
    stream("whole")
    assert files_in(out) == files_in(tmp_path / "whole") | set(foreign)
    assert {(out / name).read_text() for name in foreign} == {"the user's own"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("explanation.json", '{"format": "of somebody else"}'),
        ("explanation.json", "[]"),
        ("parts/job.json", "{}"),
        ("report.html", "the annual report"),
    ],
)
@pytest.mark.parametrize("fresh", [False, True])
def test_files_of_somebody_else_stay(
    stream: Stream, tmp_path: Path, name: str, text: str, fresh: bool
) -> None:
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text(text)
    with pytest.raises(UserError, match="name another folder"):
        stream(fresh=fresh)
    assert files_in(tmp_path / "out") == {name}
    assert (tmp_path / "out" / name).read_text() == text


def test_an_explanation_saved_there_is_not_lost_unasked(
    stream: Stream, tiny_explanation: Explanation, tmp_path: Path
) -> None:
    tiny_explanation.save(tmp_path / "out")
    with pytest.raises(UserError, match="already holds an explanation"):
        stream()
    Explanation.load(tmp_path / "out")
    stream("whole")
    stream(fresh=True)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_foreign_part_is_never_put_together(stream: Stream, tmp_path: Path) -> None:
    """Another shard that was begun with other options at the very same moment."""
    out = tmp_path / "out"
    stream(index=1, of=2)
    part = sorted((out / "parts").glob("part-*"))[0]
    value = read_json(part)
    part.write_text(json.dumps({**value, "job": "0" * 64}))
    with pytest.raises(UserError, match="of another explanation"):
        stream(index=0, of=2)
    assert not (out / "explanation.json").exists()
    assert stream().is_complete
