"""Image files by the thousand: which are explained, which are skipped, and what is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from explanation_streams import Stream, with_detector
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import png_bytes, to_float
from ifnormal.data.files.finding import find_images
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.document import read_document
from ifnormal.explanation.explanation import Explanation
from ifnormal.explanation.totals import REFINED, Counts, ImprovementTotals
from ifnormal.jobs.stream import Streaming, explain_images
from known_detectors import KnownDetector, blue, mean_color, red

pytestmark = pytest.mark.usefixtures("small_parts")


def test_what_is_flagged_is_explained_and_all_is_listed(
    stream: Stream, explainer: Explainer, pictures: Path, tmp_path: Path
) -> None:
    summary = stream()
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
    assert torch.allclose(loaded.calibrated_scores_after, known.calibrated_scores_after, atol=1e-3)
    assert torch.allclose(
        loaded.calibrated_traversal_scores, known.calibrated_traversal_scores, atol=1e-3
    )


def test_what_an_improvement_gave_is_summed_over_all_parts(
    explainer: Explainer, pictures: Path, tmp_path: Path
) -> None:
    note = {"why": REFINED, "valid_before": False, "mse_before": 0.5, "mse_after": 0.25}

    def improve(explanation: Explanation) -> Explanation:
        valid = torch.zeros_like(explanation.calibrated_scores_after)
        refined = tuple((note, None) for _ in range(len(explanation)))
        return dataclasses.replace(
            explanation, calibrated_scores_after=valid, own_scores_after=valid, refined=refined
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
    stream: Stream, tmp_path: Path, options: dict[str, object], explained: int
) -> None:
    counts = stream(**options).counts
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
    assert (document.head.own_threshold, document.head.higher_is) == (20.0, "normal")
    images = list(document.images())
    assert {image.flagged for image in images} == {True, False}
    for image in images:
        assert image.flagged == (image.own_score < 20)
        assert (image.file is not None) == (image.own_score <= lowest)
        logit = torch.logit(torch.tensor(image.calibrated_score, dtype=torch.float64))
        assert image.own_score == pytest.approx(20 - 5 * float(logit), abs=1e-2)


@pytest.mark.parametrize(
    ("options", "followed"),
    [({"traversals": 0}, 0), ({"traversals": 8}, 3), ({"traversal_steps": 0}, 0), ({}, 9)],
)
def test_for_which_images_the_way_is_shown(
    stream: Stream, tmp_path: Path, options: dict[str, object], followed: int
) -> None:
    stream(**options)
    explanation = Explanation.load(tmp_path / "out")
    assert len(explanation.traversals) == followed
    assert len(explanation.traversal_targets) == options.get("traversal_steps", 9)


def test_a_bad_image_may_stop_it(stream: Stream, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="010_empty"):
        stream(on_bad="error")
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
    stream: Stream, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        stream(**options)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(stream: Stream, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        stream("file")
