from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from explanation_folders import random_explanation
from ifnormal.evaluation.metric import Metric
from ifnormal.report.contrast import make_contrast
from ifnormal.report.figures import make_rows
from ifnormal.report.listing import read_listing
from ifnormal.report.page import page_json
from ifnormal.report.reading import Run
from ifnormal.report.score_writing import ScoreWriting, score_writing
from ifnormal.report.truth import Judged, Truth
from ifnormal.report.verdict import make_verdict
from ifnormal.report.wording import concept_name, duration, figure, joined, percent, score

MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(k: int = 2, options: dict[str, Any] | None = None, **parts: Any) -> Run:
        run = Run(
            name="run",
            explanation=read_listing(random_explanation(tmp_path / "e", k=k, **(options or {}))),
        )
        return replace(run, **parts)

    return make


def judged_by(is_normal: list[list[bool]]) -> Truth:
    return Truth([[Judged(value, "") for value in row] for row in is_normal])


def metric(**changes: Any) -> Metric:
    facts = Metric(
        "fid_n", "normalised FID", "%", "lower", None, 56.0, "A distance.", "A paper", True
    )
    return replace(facts, **changes)


def test_only_all_is_all_and_only_none_is_none() -> None:
    assert [percent(share) for share in (1, 0.999, 0.934, 0.001, 0)] == [
        "100 %",
        "over 99 %",
        "93 %",
        "under 1 %",
        "0 %",
    ]
    assert [score(value) for value in (1, 0.999, 0.5, 0.001, 0)] == [
        "1.00",
        ">0.99",
        "0.50",
        "<0.01",
        "0.00",
    ]


def test_figures_are_written_with_their_units() -> None:
    assert figure(53.14, "%") == "53.1 %"
    assert figure(-0.0412, "") == "−0.0412"
    assert figure(1234.5, "images/s") == "1,234 images/s"
    assert figure(float("nan"), "%") == "–"
    assert [duration(seconds) for seconds in (12.34, 59.97, 245, 5127, 7199)] == [
        "12.3 s",
        "1 min 0 s",
        "4 min 5 s",
        "1 h 25 min",
        "2 h 0 min",
    ]


def test_concepts_are_letters_and_lists_are_sentences() -> None:
    assert [concept_name(k) for k in (0, 1, 25, 26)] == ["A", "B", "Z", "AA"]
    assert joined(["A"]) == "A"
    assert joined(["A", "B", "C"]) == "A, B and C"


def test_a_row_has_concepts_mean_paper_and_aim() -> None:
    row, *none = make_rows({"fid_n": [60.0, 80.0], "mse": 1}, {"fid_n": metric(), "x": metric()})
    assert not none
    assert (row.title, row.value, row.paper) == ("Normalised FID", "70.0 %", "56.0 %")
    assert row.parts == (("A", "60.0 %"), ("B", "80.0 %"))
    assert (row.arrow, row.aim, row.caution) == ("↓", "lower", "")


def test_a_figure_of_other_features_is_labelled_and_not_compared() -> None:
    metrics = {"fid_n": 70.0, "fid_extractor": "judge", "fid_n_per_concept": [60.0, 80.0]}
    (row,) = make_rows(metrics, {"fid_n": metric(direction="nearer", ideal=50.0)})
    assert (row.title, row.caution) == ("Normalised FID [judge]", "other features")
    assert (row.arrow, row.aim) == ("→", "to 50 %")
    assert [letter for letter, _ in row.parts] == ["A", "B"]


@pytest.mark.parametrize("value", [[1.0, None], [], {"a": "1"}, True, [float("nan")]])
def test_what_is_no_figure_is_a_dash(value: Any) -> None:
    (row,) = make_rows({"fid_n": value}, {"fid_n": metric()})
    assert row.value == "–"


def test_a_figure_by_name_shows_its_parts() -> None:
    (row,) = make_rows({"fid_n": {"digit": 98.0, "color": 100.0}}, {"fid_n": metric()})
    assert row.value == "99.0 %"
    assert row.parts == (("digit", "98.0 %"), ("color", "100.0 %"))


def test_good_figures_read_well(make_run: MakeRun) -> None:
    metrics = {
        "two_reasons": 93.0,
        "two_ways": 88.0,
        "validity": [98.0, 96.0],
        "truly_normal": [92.0, 90.0],
        "detector_auroc": 98.7,
        "normality_auroc": 53.1,
    }
    verdict = make_verdict(make_run(metrics=metrics))
    assert verdict.paragraphs[0] == (
        "The detector flags these images for two separable reasons: for 93 % of the anomalies the "
        "explainer found one edit for each. For 88 % both edits also keep everything else as it "
        "was. The detector accepts 97 % of the counterfactuals; an independent judge calls 91 % "
        "normal."
    )
    assert [headline.figure for headline in verdict.headlines] == ["97 %", "91 %", "88 %", "53.1 %"]


def test_bad_figures_are_said_plainly(make_run: MakeRun) -> None:
    metrics = {
        "two_reasons": 12.0,
        "two_ways": 3.0,
        "validity": [96.0, 100.0],
        "truly_normal": [7.0, 5.0],
        "detector_auroc": 75.0,
    }
    answer, setting = make_verdict(make_run(metrics=metrics)).paragraphs
    assert "did not tell two reasons apart" in answer
    assert "for only 12 %" in answer
    assert "for only 3 %" in answer
    assert "calls only 6 % normal: many satisfy the detector without being normal" in answer
    assert "AuROC of 75.0 %: what it calls normal often is not" in setting


def test_middling_figures_are_not_called_a_success(make_run: MakeRun) -> None:
    answer = make_verdict(make_run(metrics={"two_reasons": 62.0, "two_ways": 30.0})).paragraphs[0]
    assert "were told apart for 62 % of the anomalies" in answer
    assert "But both edits keep everything else as it was for only 30 %" in answer


def test_without_metrics_the_verdict_counts(make_run: MakeRun) -> None:
    scores = [[0.1, 0.9], [0.5, 0.2], [0.0, 0.6]]
    run = make_run(options={"edit_scores": scores})
    judged = judged_by([[True, False], [True, True], [False, False]])
    run = replace(run, explanation=replace(run.explanation, truth=judged))
    answer, setting = make_verdict(run).paragraphs
    assert answer == (
        "The detector accepts 67 % of the counterfactuals, but an independent judge calls only "
        "50 % normal: many satisfy the detector without being normal."
    )
    assert setting == "Three anomalies were explained, each with two counterfactuals."


def surrogate(**fresh: Any) -> dict[str, Any]:
    on_fresh_edits = {"images": 1024, "agreement": 0.953, "fooled": 0.02, **fresh}
    return {"queries": {"used": 12_345, "budget": 200_000}, "on_fresh_edits": on_fresh_edits}


def test_a_surrogate_is_spoken_of_with_its_cost(make_run: MakeRun) -> None:
    run = make_run()
    assert len(make_verdict(run).paragraphs) == 2

    def said(facts: Any) -> list[str]:
        head = replace(run.explanation.head, facts={"surrogate": facts})
        explanation = replace(run.explanation, head=head)
        return make_verdict(replace(run, explanation=explanation)).paragraphs[2:]

    plain = (
        "The detector is a black box, explained through a surrogate that took 12,345 of 200,000 "
        "queries; every score here is the detector’s own. Of 1,024 fresh edits both judge 95 % "
        "alike: flagged or not."
    )
    assert said(surrogate()) == [plain]
    assert said(surrogate(fooled=0.05)) == [plain]
    assert said(surrogate(fooled=None)) == [plain]
    (warned,) = said(surrogate(fooled=0.31))
    assert warned.startswith(f"{plain} Caution: the detector still flags 31 % of the fresh edits")
    (bare,) = said({"queries": "many", "on_fresh_edits": {"fooled": "x", "images": 0}})
    assert bare == (
        "The detector is a black box, explained through a surrogate; every score here is the "
        "detector’s own."
    )
    assert said(None) == said("a network") == []


def test_useless_synthetic_outliers_are_told_of(make_run: MakeRun) -> None:
    run = make_run()

    def said(quality: Any) -> list[str]:
        head = replace(run.explanation.head, facts={"synthetic_outliers": {"quality": quality}})
        explanation = replace(run.explanation, head=head)
        return make_verdict(replace(run, explanation=explanation)).paragraphs[2:]

    figures = {"rated": 1000, "useless": 90, "indistinguishable": 80, "unrealistic": 10}
    kinds = {"scar": {"rated": 9, "useless": 4}, "grain": {"rated": 9, "useless": 5}}
    plain = (
        "Of 1,000 synthetic outliers that were rated, 90 are useless: 80 cannot be told from "
        "normal images and 10 are far from anything here"
    )
    assert said(figures) == [f"{plain}."]
    assert said({**figures, "kinds": kinds}) == [f"{plain}; mostly useless kinds: grain."]
    assert said({"not_rated": "No weights."}) == [
        "The quality of the synthetic outliers is not known: No weights."
    ]
    assert said({**figures, "kinds": {"grain": 3}}) == [f"{plain}."]
    assert said({"rated": "many"}) == said("high") == said(None) == []


def test_classes_and_a_second_detector_are_told_of(make_run: MakeRun) -> None:
    metrics = {"validity": [90.0, 90.0], "distinct_normals": 70.0, "two_reasons": None}
    metrics["second_detector_agrees"] = [60.0, 70.0]
    answer = make_verdict(make_run(metrics=metrics)).paragraphs[0]
    assert answer.startswith("For 70 % of the anomalies the edits show different normal classes.")
    assert "90 % of the counterfactuals, and a second one, trained differently, 65 %" in answer
    few = make_verdict(make_run(metrics={**metrics, "second_detector_agrees": [8.0]}))
    assert "trained differently, only 8 %" in few.paragraphs[0]
    assert "classes" not in make_verdict(make_run(k=1, metrics=metrics)).paragraphs[0]


def test_one_concept_is_not_blamed_for_showing_one_reason(make_run: MakeRun) -> None:
    verdict = make_verdict(make_run(k=1, metrics={"two_reasons": 0.0, "two_ways": 0.0}))
    assert "reasons" not in verdict.paragraphs[0]
    assert len(verdict.headlines) == 1


@pytest.mark.parametrize(
    ("normal", "said"),
    [
        ([[False]] * 3, "100 % valid, yet nothing a human would call normal"),
        ([[True], [False], [False]], "100 % valid, yet only 33 % normal to the judge"),
        ([[True]] * 3, "100 % are valid, and the judge calls 100 % normal."),
        (None, "Does anything here look normal to you?"),
    ],
)
def test_the_contrast_draws_only_the_moral_that_was_measured(
    make_run: MakeRun,
    tmp_path: Path,
    normal: list[list[bool]] | None,
    said: str,
) -> None:
    names = ("photos/002.png", "photos/000.png", "stranger")
    gradient = read_listing(random_explanation(tmp_path / "g", k=1, names=names, frames=0))
    gradient = replace(gradient, truth=judged_by(normal or []))
    contrast = make_contrast(make_run(gradient=gradient))
    assert contrast is not None
    assert said in " ".join(contrast.paragraphs)
    assert [card.number for card in contrast.cards] == [3, 1, 0]


@pytest.mark.parametrize(
    ("low", "high", "written"),
    [
        (0.0, 1.0, ["0.50", "<0.01"]),
        (-40.0, 2.0, ["0.5", "0.0"]),
        (12.0, 12.02, ["0.5000", "0.0010"]),
        (-4000.0, 0.0, ["0", "0"]),
        (0.0, 1e12, ["5.00e−01", "1.00e−03"]),
    ],
)
def test_scores_have_the_decimals_that_tell_them_apart(
    make_run: MakeRun, low: float, high: float, written: list[str]
) -> None:
    listing = replace(make_run().explanation, own_scores=(low, high))
    if (low, high) != (0.0, 1.0):
        listing = replace(listing, head=replace(listing.head, own_threshold=high))
    write = score_writing(listing)
    assert [write(0.5), write(0.001)] == written
    assert write.is_share or write(-40.0).startswith("−")


def test_a_score_rounded_to_nothing_has_no_sign() -> None:
    write = ScoreWriting(1, is_share=False)
    assert [write(-0.04), write(-0.06), write(float("inf"))] == ["0.0", "−0.1", "–"]


def test_only_what_is_flagged_is_said_to_be(make_run: MakeRun) -> None:
    verdict = make_verdict(make_run(options={"scores": [0.9, 0.2, 0.1]}))
    assert verdict.paragraphs[0].startswith("One of the three images is flagged. The detector")
    assert [headline.figure for headline in verdict.headlines] == ["1 of 3", "50 %"]
    verdict = make_verdict(make_run(options={"scores": [0.3, 0.2, 0.1]}))
    assert verdict.paragraphs == [
        "None of the three images is flagged.",
        "No anomalies were explained.",
    ]


def test_json_in_a_page_has_no_character_of_html() -> None:
    hostile = {"</script>": "<!--&\u2028'\u2029]]>\"\\\udc80"}
    text = page_json(hostile)
    assert not set(text) & set("<>&'\u2028\u2029")
    assert text.isascii()
    assert json.loads(text) == hostile
