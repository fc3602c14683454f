"""What independent detectors accept stands beside validity, and first of all if they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from explanation_folders import random_explanation, second_opinions
from ifnormal.cli import main
from ifnormal.explanation.document import read_document
from ifnormal.explanation.entries import Opinion
from ifnormal.explanation.totals import ImprovementTotals
from ifnormal.jobs import explain
from ifnormal.jobs.stream import Summary
from ifnormal.report import write_report
from ifnormal.report.listing import Listing, read_listing
from ifnormal.report.opinion_table import make_opinion_table
from ifnormal.report.reading import Run, read_run
from ifnormal.report.second_opinion import Acceptance, acceptance_of, make_badge
from ifnormal.report.side_by_side import make_side_by_side
from ifnormal.report.verdict import make_verdict
from test_report import HOSTILE, Page, assert_harmless, data

TWO = ("mvg", "padim")
# Concept A is valid, concept B is not, as `random_explanation` scores them.
AGREED = [[2, 0], [2, 1], [2, 2]]
REFUSED = [[0, 0], [1, 0], [0, 0]]


def explained(
    folder: Path,
    after: Sequence[Sequence[int]],
    names: Sequence[str] = TWO,
    before: Sequence[int] = (0, 0, 1),
    normal: Sequence[int] = (1, 1, 18),
    **options: Any,
) -> Path:
    given = second_opinions(names, before, after, normal, auroc=0.97)
    return random_explanation(folder, k=len(after[0]), **given, **options)


def acceptance(
    accepted: float,
    normal: float | None = 0.9,
    before: float | None = 0.0,
    valid: float = 0.96,
    detectors: int = 2,
) -> Acceptance:
    return Acceptance(detectors, valid, accepted, accepted, normal, before)


def opinions(*accepts: bool) -> list[Opinion]:
    return [Opinion(str(n), 0.5, accepted) for n, accepted in enumerate(accepts)]


@pytest.mark.parametrize(
    ("accepts", "kind", "marks", "words"),
    [
        ((True, True), "all", "✓✓", "accepted by 2 of 2 independent detectors"),
        ((False, True), "some", "✕✓", "accepted by 1 of 2 independent detectors"),
        ((False, False, False), "none", "✕✕✕", "accepted by 0 of 3 independent detectors"),
        ((True,), "all", "✓", "accepted by the independent detector"),
        ((False,), "none", "✕", "flagged by the independent detector"),
    ],
)
def test_a_badge_is_understood_by_itself(
    accepts: tuple[bool, ...], kind: str, marks: str, words: str
) -> None:
    badge = make_badge(opinions(*accepts))
    assert badge is not None
    assert (badge.kind, badge.marks, badge.words) == (kind, marks, words)


def test_who_was_not_asked_has_no_badge() -> None:
    assert make_badge([]) is None


class TestSentence:
    def test_both_agree(self) -> None:
        found = acceptance(0.87)
        assert not found.is_doubtful
        assert found.sentence == (
            "The detector accepts 96 % of the counterfactuals, both independent detectors 87 %, "
            "against 90 % of real normal images."
        )
        assert found.cautions == []

    def test_only_the_explained_detector_accepts(self) -> None:
        found = acceptance(0.12)
        assert found.is_doubtful
        assert found.sentence == (
            "The detector accepts 96 % of the counterfactuals, but both independent detectors "
            "accept only 12 %, against 90 % of real normal images: most please this detector "
            "without looking normal to others."
        )
        assert "accept none, against" in acceptance(0.0).sentence

    def test_one_detector_and_no_normal_images(self) -> None:
        assert acceptance(0.12, normal=None, detectors=1).sentence == (
            "The detector accepts 96 % of the counterfactuals, but the independent detector "
            "accepts only 12 %: most please this detector without looking normal to others."
        )
        assert acceptance(0.9, normal=None, detectors=3).sentence == (
            "The detector accepts 96 % of the counterfactuals, all three independent detectors "
            "90 %."
        )

    def test_what_they_accept_of_real_normal_images_is_what_can_be_expected(self) -> None:
        assert not acceptance(0.4, normal=0.7).is_doubtful
        assert acceptance(0.4, normal=None).is_doubtful
        assert not acceptance(0.1, valid=0.3).is_doubtful
        assert acceptance(0.1, valid=0.3).sentence.startswith("The detector accepts only 30 % of")

    def test_detectors_that_see_no_difference_prove_nothing(self) -> None:
        assert acceptance(0.9, before=0.8).cautions == [
            "They accept 80 % of the anomalies before the edit as well, so their approval says "
            "little."
        ]
        assert acceptance(0.9, before=0.8, detectors=1).cautions == [
            "It accepts 80 % of the anomalies before the edit as well, so its approval says little."
        ]

    def test_detectors_that_flag_normal_images_prove_nothing(self) -> None:
        assert acceptance(0.1, normal=0.3).cautions == [
            "They accept only 30 % of the real normal images, so their refusal says little."
        ]


def listing(folder: Path, after: Sequence[Sequence[int]], **options: Any) -> Listing:
    return read_listing(explained(folder, after, **options))


def test_shares_of_an_explanation(tmp_path: Path) -> None:
    found = listing(tmp_path, AGREED)
    assert acceptance_of(found.head, found.opinions) == Acceptance(
        detectors=2, valid=0.5, accepted=4 / 6, valid_and_accepted=0.5, normal=0.9, before=0.0
    )


def test_the_table_stands_beside_normal_images_and_anomalies(tmp_path: Path) -> None:
    found = listing(tmp_path, AGREED)
    table = make_opinion_table(found, acceptance_of(found.head, found.opinions))
    assert table is not None
    assert table.columns == ["2 of 2", "1 of 2", "0 of 2"]
    assert [(row.title, row.count, row.figures) for row in table.rows] == [
        ("Counterfactuals", 6, ["67 %", "17 %", "17 %"]),
        ("Real normal images, held out", 20, ["90 %", "5 %", "5 %"]),
        ("Anomalies before the edit", 3, ["0 %", "33 %", "67 %"]),
    ]
    assert table.rows[1].segments == [
        (0, 0.9),
        (0.9, 0.05),
        (pytest.approx(0.95), 0.05),
    ]
    assert table.about == (
        "mvg and padim are detectors of other kinds, which the edits were not made to please. "
        "AuROC, normal images against synthetic outliers: mvg 97 % and padim 97 %. 50 % of the "
        "counterfactuals are accepted by every detector, the explained one included."
    )


def test_one_detector_has_no_counts(tmp_path: Path) -> None:
    found = listing(tmp_path, [[1], [0], [1]], names=("mvg",), normal=(), before=(0, 0, 0))
    table = make_opinion_table(found, acceptance_of(found.head, found.opinions))
    assert table is not None
    assert table.columns == ["accepted", "flagged"]
    assert [row.title for row in table.rows] == ["Counterfactuals", "Anomalies before the edit"]


def test_the_first_sentence_says_it_plainly(tmp_path: Path) -> None:
    """Even before how many images are flagged."""
    scores = {"scores": [0.9, 0.8, 0.2], "edit_scores": [[0.1, 0.1]] * 3}
    run = Run("run", listing(tmp_path / "bad", REFUSED, **scores))
    first = make_verdict(run).paragraphs[0]
    assert first.startswith(
        "The detector accepts 100 % of the counterfactuals, but both independent detectors accept "
        "none, against 90 % of real normal images: most please this detector"
    )
    assert "Two of the three images are flagged." in first
    good = Run("run", listing(tmp_path / "good", AGREED, **scores))
    verdict = make_verdict(good)
    assert verdict.paragraphs[0].startswith("Two of the three images are flagged. The detector")
    assert [(one.title, one.figure) for one in verdict.headlines[1:]] == [
        ("of the edits are accepted by the detector", "100 %"),
        ("are accepted by both independent detectors", "50 %"),
    ]


def test_figures_of_all_images_count_more_than_those_shown(tmp_path: Path) -> None:
    metrics = {
        "validity": [100.0, 90.0],
        "accepted_by_all": [20.0, 10.0],
        "valid_and_accepted": [20.0, 10.0],
        "truly_normal": [12.0, 10.0],
    }
    verdict = make_verdict(Run("run", listing(tmp_path, AGREED), metrics=metrics))
    assert (
        "95 % of the counterfactuals, but both independent detectors accept only 15 %"
        in (verdict.paragraphs[0])
    )
    assert "An independent judge calls only 11 % normal." in verdict.paragraphs[0]


def test_the_page_shows_badges_table_and_filter(tmp_path: Path) -> None:
    page = Page(write_report(explained(tmp_path, AGREED)))
    assert {"opinions", "filter-second"} <= page.ids
    assert page.text.count("✓✓ accepted by 2 of 2 independent detectors") == 4
    assert page.text.count("✕✕ accepted by 0 of 2 independent detectors") == 1
    assert "Counterfactuals 6" in page.text
    assert "says that both independent detectors accept the edit as well" in page.text
    alts = [image["alt"] for image in page.all("img")]
    assert any("accepted by 1 of 2 independent detectors" in alt for alt in alts)
    shown = {image["n"]: image["second"] for image in data(page)["images"]}
    assert shown == {1: [2, 0], 2: [2, 1], 3: [2, 2]}
    assert data(page)["asked"] == 2
    assert "By the others 100 % by all independent detectors" in page.text  # concept A's card
    assert_harmless(page)


def test_without_a_second_opinion_nothing_is_said_of_it(tmp_path: Path) -> None:
    page = Page(write_report(random_explanation(tmp_path)))
    assert not {"opinions", "filter-second"} & page.ids
    assert "no independent judge has looked at them" in page.text
    assert "independent detector" not in page.text


def test_what_was_not_asked_about_has_no_badge(tmp_path: Path) -> None:
    given = second_opinions(TWO, [0, 0, 0], AGREED)
    del given["edit_extra"][0, 1]
    page = Page(write_report(random_explanation(tmp_path, **given)))
    shown = {image["n"]: image["second"] for image in data(page)["images"]}
    assert shown[1] == [2, None]
    assert page.text.count("of 2 independent detectors") == 5


def test_hostile_names_of_detectors_stay_words(tmp_path: Path) -> None:
    page = Page(write_report(explained(tmp_path, [[1], [2], [0]], names=HOSTILE[:2])))
    assert_harmless(page)
    assert HOSTILE[0] in page.text


def test_edits_by_gradient_are_asked_about_too(tmp_path: Path) -> None:
    explained(tmp_path / "explanation", AGREED)
    explained(tmp_path / "gradient", [[0], [0], [0]])
    page = Page(write_report(tmp_path))
    assert "100 % are valid; both independent detectors accept 0 %." in page.text


def test_methods_side_by_side(tmp_path: Path) -> None:
    first = read_run(explained(tmp_path / "first", AGREED))
    second = read_run(explained(tmp_path / "second", REFUSED))
    neither = read_run(random_explanation(tmp_path / "neither"))
    beside = make_side_by_side(first, [second, neither])
    figures = [dict(method.figures) for method in beside.methods]
    title = "by all independent detectors"
    assert [row[title] for row in figures] == ["67 %", "0 %", "–"]
    badges = [cells[0].badge for cells in beside.rows[0].groups]
    assert [badge and badge.short for badge in badges] == ["2 of 2 others", "0 of 2 others", None]
    assert len(beside.paragraphs) == 1
    other = read_run(explained(tmp_path / "other", AGREED, names=("mvg", "hsc")))
    warning = make_side_by_side(first, [other]).paragraphs[-1]
    assert warning.startswith("Not the same independent detectors")
    alone = make_side_by_side(neither, [neither])
    assert title not in dict(alone.methods[0].figures)


@pytest.mark.parametrize(
    ("after", "place", "words"),
    [
        (AGREED, 1, "The detector accepts 50 % of the counterfactuals, both independent detectors"),
        (REFUSED, 0, "The detector accepts 50 % of the counterfactuals, but both independent"),
    ],
)
def test_the_command_line_says_it_beside_validity(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    after: list[list[int]],
    place: int,
    words: str,
) -> None:
    """And first of all where the independent detectors refuse what the detector accepts."""
    found = read_document(explained(tmp_path, after))
    improved = ImprovementTotals()
    summary = Summary(
        tmp_path, found.counts, 0, 0, True, None, improved, found.opinions, found.head
    )
    monkeypatch.setattr(explain, "explain_own_images", lambda *_, **__: summary)
    assert main(["explain", str(tmp_path), "--detector", "a:b", "--normal", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[place].startswith(words)
    assert lines[place].endswith("These are 6 counterfactuals of 3 images.")
    assert lines[1 - place] == "3 images read, 3 flagged, 0 skipped."
