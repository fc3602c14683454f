"""Image files by the thousand: in parts, whichever are done by whom and when."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from copy import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ifnormal.explanation_parts
import ifnormal.explanation_stream
from ifnormal.data.folder import find_images
from ifnormal.errors import UserError
from ifnormal.explainer import Explainer
from ifnormal.explanation import Explanation
from ifnormal.explanation_document import Counts, read_document
from ifnormal.explanation_stream import Streaming, Summary, explain_images
from ifnormal.improvement_totals import REFINED, ImprovementTotals
from ifnormal.pixels import png_bytes, to_float
from ifnormal.storage import read_json
from known_detectors import KnownDetector, blue, mean_color, red, tiny
from tiny_runs import files as files_in

SIZE = 8  # images a part, so that a few images are many parts


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small parts; and no page, which has tests of its own."""

    def write_report(folder: Path) -> Path:
        read_document(folder)
        (folder / "report.html").write_text("a page")
        return folder / "report.html"

    monkeypatch.setattr(ifnormal.explanation_stream, "PART_SIZE", SIZE)
    monkeypatch.setattr(ifnormal.explanation_stream, "write_report", write_report)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(mean_color(), tiny(steps=6)).fit(blue(), red(), seed=3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """27 images, every third red and so flagged, and among them an empty file and a text."""
    folder = tmp_path_factory.mktemp("pictures")
    normal, anomalous = blue(27, seed=5), red(27, seed=6)
    for n in range(27):
        image = (anomalous if n % 3 == 0 else normal)[n]
        (folder / f"{n:03d}.png").write_bytes(png_bytes(image))
    (folder / "010_empty.png").write_bytes(b"")
    (folder / "020_<b>text.png").write_text("no image")
    return folder


Run = Callable[..., Summary]


@pytest.fixture
def run(explainer: Explainer, pictures: Path, tmp_path: Path) -> Run:
    def run(out: str = "out", **options: object) -> Summary:
        how = Streaming(**options)  # type: ignore[arg-type]
        return explain_images(explainer, find_images([pictures]), tmp_path / out, how)

    return run


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


def test_what_is_flagged_is_explained_and_all_is_listed(
    run: Run, explainer: Explainer, pictures: Path, tmp_path: Path
) -> None:
    summary = run()
    document = read_document(tmp_path / "out")
    images = list(document.images())
    red_ones = [f"{pictures}/{n:03d}.png" for n in range(0, 27, 3)]
    assert [image.path for image in images] == [f"{pictures}/{n:03d}.png" for n in range(27)]
    assert [image.path for image in images if image.flagged] == red_ones
    assert [image.path for image in images if image.file] == red_ones
    skipped = list(document.skipped())
    assert [Path(bad.path).name for bad in skipped] == ["010_empty.png", "020_<b>text.png"]
    assert all(bad.reason for bad in skipped)
    assert document.counts == summary.counts
    assert dataclasses.replace(summary.counts, valid=0) == Counts(27, 9, 9, 18, 0, 2)
    assert summary.is_complete
    assert summary.report == tmp_path / "out" / "report.html"
    assert summary.images_per_second > 0

    loaded = Explanation.load(tmp_path / "out")
    known = explainer.explain([Path(name) for name in red_ones], traversals=9)
    assert loaded.heatmaps is not None
    assert known.heatmaps is not None
    assert torch.equal(loaded.heatmaps, known.heatmaps)
    assert (loaded.heatmaps == 255).all()  # each pixel's red and blue count alike
    assert loaded.names == tuple(red_ones)
    assert torch.equal(loaded.anomalies, known.anomalies)
    difference = loaded.counterfactuals.int() - known.counterfactuals.int()
    assert difference.abs().max() <= 1  # batches of another size round differently
    assert torch.allclose(loaded.scores_after, known.scores_after, atol=1e-3)
    assert torch.allclose(loaded.traversal_scores, known.traversal_scores, atol=1e-3)


def test_what_an_improvement_gave_is_summed_over_all_parts(
    explainer: Explainer, pictures: Path, tmp_path: Path
) -> None:
    note = {"why": REFINED, "valid_before": False, "mse_before": 0.5, "mse_after": 0.25}

    def improve(explanation: Explanation) -> Explanation:
        valid = torch.zeros_like(explanation.scores_after)
        refined = tuple((note, None) for _ in range(len(explanation)))
        return dataclasses.replace(
            explanation, scores_after=valid, own_scores_after=valid, refined=refined
        )

    how = Streaming(facts={"refine": True})
    for _ in range(2):  # made, and then found
        summary = explain_images(explainer, find_images([pictures]), tmp_path, how, improve)
        assert summary.improvement == ImprovementTotals(18, 9, 9, 0, 9, 18, 9, 4.5, 2.25)


@pytest.mark.parametrize(
    ("options", "explained"),
    [({"which": "all"}, 27), ({"min_score": 0.0}, 27), ({"min_score": 1.1}, 0), ({}, 9)],
)
def test_which_images_are_explained(
    run: Run, tmp_path: Path, options: dict[str, object], explained: int
) -> None:
    counts = run(**options).counts
    assert (counts.images, counts.flagged, counts.explained) == (27, 9, explained)
    assert len(Explanation.load(tmp_path / "out")) == explained


class InCelsius(KnownDetector):
    """Own units in which a low score is bad: 20 − 5 · log-odds."""

    higher_is = "normal"
    own_threshold = 20.0

    def own_units(self, log_odds: Tensor) -> Tensor:
        return 20 - 5 * log_odds


@pytest.mark.parametrize("lowest", [-20.0, 20.0, 1000.0])
def test_a_lower_own_score_may_be_the_anomalous_one(
    explainer: Explainer, pictures: Path, tmp_path: Path, lowest: float
) -> None:
    detector = InCelsius(mean_color().weights)
    fitted = Explainer(detector, explainer.config).fit(blue(), red(), seed=3)
    explain_images(fitted, find_images([pictures]), tmp_path, Streaming(min_score=lowest))
    document = read_document(tmp_path)
    assert (document.head.threshold, document.head.higher_is) == (20.0, "normal")
    images = list(document.images())
    assert {image.flagged for image in images} == {True, False}
    for image in images:
        assert image.flagged == (image.score < 20)
        assert (image.file is not None) == (image.score <= lowest)
        logit = torch.logit(torch.tensor(image.calibrated_score, dtype=torch.float64))
        assert image.score == pytest.approx(20 - 5 * float(logit), abs=1e-2)


@pytest.mark.parametrize(
    ("options", "followed"),
    [({"traversals": 0}, 0), ({"traversals": 8}, 3), ({"traversal_steps": 0}, 0), ({}, 9)],
)
def test_for_which_images_the_way_is_shown(
    run: Run, tmp_path: Path, options: dict[str, object], followed: int
) -> None:
    run(**options)
    explanation = Explanation.load(tmp_path / "out")
    assert len(explanation.traversals) == followed
    assert len(explanation.traversal_targets) == options.get("traversal_steps", 9)


def test_the_same_again_does_nothing_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    before = content(tmp_path / "out")
    monkeypatch.setattr(Explainer, "explain", None)
    summary = run()
    assert (summary.kept, summary.images_per_second, summary.is_complete) == (29, 0.0, True)
    assert content(tmp_path / "out") == before


def test_broken_off_at_any_part_it_goes_on_to_the_same(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("whole")
    write_part, written = ifnormal.explanation_stream.write_part, 0

    def break_off(*arguments: object) -> None:
        nonlocal written
        if written == 2:
            raise KeyboardInterrupt
        written += 1
        write_part(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ifnormal.explanation_stream, "write_part", break_off)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not (tmp_path / "out" / "explanation.json").exists()
    monkeypatch.setattr(ifnormal.explanation_stream, "write_part", write_part)
    assert run().kept == 2 * SIZE
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_what_a_kill_left_half_written_goes_away(run: Run, tmp_path: Path) -> None:
    """Unless there are other shards, which may be writing it just now."""
    run("whole")
    run(index=0, of=2)
    names = ("images/.000003_anomaly.png", "parts/.part-000001.json", ".explanation.json")
    halves = {f"{name}.0123456789abcdef" for name in names}
    for name in halves:
        (tmp_path / "out" / name).write_bytes(b"half")
    run(index=1, of=2)
    assert halves <= files_in(tmp_path / "out")
    run()
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_last_shard_puts_everything_together(
    run: Run, tmp_path: Path, order: tuple[int, ...]
) -> None:
    run("whole")
    summaries = [run(index=index, of=3) for index in order]
    assert [summary.is_complete for summary in summaries] == [False, False, True]
    assert [summary.report is not None for summary in summaries] == [False, False, True]
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert summaries[-1].counts == read_document(tmp_path / "whole").counts


def test_more_shards_than_parts(run: Run, tmp_path: Path) -> None:
    for index in range(6):
        summary = run(index=index, of=6)
    assert summary.is_complete
    assert summary.counts.images == 27


def test_a_damaged_part_is_done_again(run: Run, tmp_path: Path) -> None:
    run()
    out, whole = tmp_path / "out", content(tmp_path / "out")
    names = ["anomaly.png", "heatmap.png", "concept1.png", "concept0_way.png"]
    for name in ["parts/part-000000.json", *(f"images/000003_{kind}" for kind in names)]:
        for damage in (None, whole[name][: len(whole[name]) // 2], whole[name] + b"}"):
            (out / name).unlink()
            if damage is not None:
                (out / name).write_bytes(damage)
            assert run().kept == 29 - SIZE
            assert content(out) == whole
    assert run().kept == 29


def other_explainer(explainer: Explainer) -> Explainer:
    return Explainer(mean_color(), tiny(steps=6)).fit(blue(), red(), seed=4)


def other_detector(explainer: Explainer) -> Explainer:
    return with_detector(explainer, mean_color(gain=13.0))


def other_threshold(explainer: Explainer) -> Explainer:
    detector = mean_color()
    detector.threshold = 0.6
    return with_detector(explainer, detector)


def with_detector(explainer: Explainer, detector: KnownDetector) -> Explainer:
    """The same explainer of another detector."""
    other = copy(explainer)
    other._detector = detector
    return other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_explainer, "another explainer"),
        (other_detector, "scores differently"),
        (other_threshold, "another detector or threshold"),
    ],
)
def test_another_explainer_is_told_apart(
    run: Run,
    explainer: Explainer,
    pictures: Path,
    tmp_path: Path,
    change: Callable[[Explainer], Explainer],
    message: str,
) -> None:
    run()
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
    run: Run, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    run()
    before = content(tmp_path / "out")
    with pytest.raises(UserError, match=f"{message}.*--fresh"):
        run(**options)
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


def test_fresh_removes_the_old_and_nothing_else(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(which="all")
    foreign = ["notes.txt", "images/cat.png", "parts/mine.json", "explainer/explainer.json"]
    for name in foreign:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("the user's own")
    halves = ["images/.000000_anomaly.png.0123456789abcdef", "parts/.job.json.0123456789abcdef"]
    for name in halves:
        (out / name).write_bytes(b"half")
    run(fresh=True)
    run("whole")
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
    run: Run, tmp_path: Path, name: str, text: str, fresh: bool
) -> None:
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text(text)
    with pytest.raises(UserError, match="name another folder"):
        run(fresh=fresh)
    assert files_in(tmp_path / "out") == {name}
    assert (tmp_path / "out" / name).read_text() == text


def test_an_explanation_saved_there_is_not_lost_unasked(
    run: Run, tiny_explanation: Explanation, tmp_path: Path
) -> None:
    tiny_explanation.save(tmp_path / "out")
    with pytest.raises(UserError, match="already holds an explanation"):
        run()
    Explanation.load(tmp_path / "out")
    run("whole")
    run(fresh=True)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_bad_image_may_stop_it(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="010_empty"):
        run(on_bad="error")
    assert not (tmp_path / "out" / "explanation.json").exists()


def test_only_bad_images(explainer: Explainer, pictures: Path, tmp_path: Path) -> None:
    bad = [pictures / "010_empty.png", pictures / "not there.png"]
    summary = explain_images(explainer, bad, tmp_path)
    assert summary.counts == Counts(skipped=2)
    assert len(Explanation.load(tmp_path)) == 0


class Blind(KnownDetector):
    """Has no score for the second of its images, or for what was made of it."""

    images: Tensor
    to_edits: bool

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        log_odds, features = super().inspect(images)
        distances = torch.cdist(images.flatten(1), self.images.flatten(1))
        of_second, is_edit = distances.argmin(1) == 1, distances.amin(1) > 1e-3
        return log_odds.masked_fill(of_second & (is_edit == self.to_edits), torch.nan), features


@pytest.mark.parametrize(("to_edits", "what"), [(False, "it"), (True, "an edit of it")])
def test_an_image_without_a_score_is_skipped(
    explainer: Explainer, tmp_path: Path, to_edits: bool, what: str
) -> None:
    files = [tmp_path / f"{n}.png" for n in range(3)]
    for file, image in zip(files, red(3), strict=True):
        file.write_bytes(png_bytes(image))
    blind = Blind(mean_color().weights)
    blind.images, blind.to_edits = to_float(red(3)), to_edits
    fitted = with_detector(explainer, blind)
    explain_images(fitted, files, tmp_path / "out")
    document = read_document(tmp_path / "out")
    assert [Path(image.path).name for image in document.images()] == ["0.png", "2.png"]
    assert len(Explanation.load(tmp_path / "out").traversals) == 2
    (skipped,) = document.skipped()
    assert Path(skipped.path).name == "1.png"
    assert skipped.reason == f"the detector gives {what} no finite score (nan)"
    with pytest.raises(
        UserError, match=rf"1\.png cannot be explained \(the detector gives {what} "
    ):
        explain_images(fitted, files, tmp_path / "strict", Streaming(on_bad="error"))


def test_the_same_file_twice_is_listed_twice(
    explainer: Explainer, pictures: Path, tmp_path: Path
) -> None:
    one, bad = pictures / "000.png", pictures / "010_empty.png"
    explain_images(explainer, [one, bad, one, bad, one], tmp_path)
    document = read_document(tmp_path)
    assert [image.path for image in document.images()] == [one.as_posix()] * 3
    assert len({image.file for image in document.images()}) == 3
    assert len(list(document.skipped())) == 2


def test_every_part_can_be_improved(explainer: Explainer, pictures: Path, tmp_path: Path) -> None:
    """What improves sees each chunk as an explanation, and what it gives back is what is saved."""
    seen = []

    def improve(explanation: Explanation) -> Explanation:
        seen.append(len(explanation))
        said = ({"score_before": 0.75}, None)
        return dataclasses.replace(
            explanation,
            counterfactuals=explanation.anomalies[:, None].repeat(1, 2, 1, 1, 1),
            refined=(said,) * len(explanation),
        )

    explain_images(explainer, find_images([pictures]), tmp_path, improve=improve)
    loaded = Explanation.load(tmp_path)
    assert sum(seen) == len(loaded) == 9
    assert len(seen) > 1
    assert torch.equal(loaded.counterfactuals[:, 1], loaded.anomalies)
    assert loaded.refined == (({"score_before": 0.75}, None),) * 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"index": 2, "of": 2}, "--index 2 --of 2"),
        ({"index": -1}, "--index -1"),
        ({"of": 0}, "--of 0"),
        ({"fresh": True, "of": 2}, "--fresh"),
        ({"which": "all", "min_score": 1.0}, "--min-score"),
    ],
)
def test_options_that_contradict_each_other(
    run: Run, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(**options)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        run("file")


def test_a_foreign_part_is_never_put_together(run: Run, tmp_path: Path) -> None:
    """Another shard that was begun with other options at the very same moment."""
    out = tmp_path / "out"
    run(index=1, of=2)
    part = sorted((out / "parts").glob("part-*"))[0]
    value = read_json(part)
    part.write_text(json.dumps({**value, "job": "0" * 64}))
    with pytest.raises(UserError, match="of another explanation"):
        run(index=0, of=2)
    assert not (out / "explanation.json").exists()
    assert run().is_complete
