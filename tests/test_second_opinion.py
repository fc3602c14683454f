"""Second opinions belong to their pictures: in memory, on disk and in sums."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.explanation.document import read_document
from ifnormal.explanation.entries import (
    Counterfactual,
    ExplainedImage,
    Opinion,
    SecondDetector,
)
from ifnormal.explanation.explanation import Explanation
from ifnormal.explanation.opinion_totals import OpinionTotals, shares
from ifnormal.explanation.opinions import Opinions

DETECTORS = (
    SecondDetector("mvg", threshold=0.5, normal_images=20, normal_accepted=0.95, auroc=0.9),
    SecondDetector("padim", threshold=0.1, normal_images=20, normal_accepted=0.9),
)
NAN = float("nan")


@pytest.fixture
def explanation(make_explanation: Callable[..., Explanation]) -> Explanation:
    """Three anomalies; nobody was asked about concept 1 of the last one."""
    opinions = Opinions(
        DETECTORS,
        torch.tensor([[0.9, 0.8], [0.5, 0.8], [0.5, 0.1]]),
        torch.tensor([[[0.5, 0.1], [0.9, 0.1]], [[0.5, 0.2], [0.9, 0.2]], [[0.0, 0.0], [NAN] * 2]]),
        normal_accepted_by=(0, 3, 17),
    )
    scores = torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.9, 0.1]])
    return replace(make_explanation(), second_opinion=opinions, calibrated_scores_after=scores)


def opinions_of(explanation: Explanation) -> Opinions:
    assert explanation.second_opinion is not None
    return explanation.second_opinion


def test_a_score_at_the_threshold_is_accepted(explanation: Explanation) -> None:
    """Also where the threshold has no exact float, such as 0.1."""
    opinions = opinions_of(explanation)
    assert opinions.accepts_before.tolist() == [[False, False], [True, False], [True, True]]
    assert opinions.accepts_after.tolist() == [
        [[True, True], [False, True]],
        [[True, False], [False, False]],
        [[True, True], [False, False]],
    ]
    assert opinions.asked.tolist() == [[True, True], [True, True], [True, False]]


def test_saved_and_loaded_is_identical(explanation: Explanation, tmp_path: Path) -> None:
    explanation.save(tmp_path)
    loaded, saved = opinions_of(Explanation.load(tmp_path)), opinions_of(explanation)
    assert loaded.detectors == DETECTORS
    assert loaded.normal_accepted_by == (0, 3, 17)
    for name in ("scores_before", "scores_after"):
        assert torch.equal(
            getattr(loaded, name).nan_to_num(-1), getattr(saved, name).nan_to_num(-1)
        )


def test_the_document_says_it_in_the_promised_form(
    explanation: Explanation, tmp_path: Path
) -> None:
    explanation.save(tmp_path)
    document = read_json(tmp_path / "explanation.json")
    assert document["schema_version"] == 3
    assert document["second_opinion"][1] == {
        "detector": "padim",
        "threshold": 0.1,
        "normal_images": 20,
        "normal_accepted": 0.9,
        "auroc": None,
    }
    first, _, last = document["images"]
    assert first["counterfactuals"][1]["second_opinion"] == [
        {"detector": "mvg", "score": pytest.approx(0.9), "accepts": False},
        {"detector": "padim", "score": pytest.approx(0.1), "accepts": True},
    ]
    assert [one["accepts"] for one in first["second_opinion"]] == [False, False]
    assert last["counterfactuals"][1]["second_opinion"] == []


def test_a_selection_keeps_its_own(explanation: Explanation) -> None:
    selected = opinions_of(explanation.select([1, 2]))
    assert torch.equal(selected.scores_before, opinions_of(explanation).scores_before[1:])
    assert selected.shape == (2, 2)


def test_of_a_new_counterfactual_nothing_was_said(explanation: Explanation) -> None:
    where = torch.tensor([[True, False], [False, False], [False, True]])
    changed = explanation.with_counterfactuals(
        where,
        torch.zeros(2, 3, 8, 9, dtype=torch.uint8),
        torch.zeros(2),
        torch.zeros(2),
        torch.eye(2),
    )
    opinions, before = opinions_of(changed), opinions_of(explanation)
    assert opinions.after(0, 0) == ()
    assert opinions.after(0, 1) == before.after(0, 1) != ()
    assert not opinions.accepts_after[where].any()
    assert opinions.before(0) == before.before(0)
    assert before.after(0, 0) != ()


@pytest.mark.parametrize(
    ("before", "after", "counts"),
    [
        ((3, 1), (3, 2, 2), ()),
        ((3, 2), (3, 2, 1), ()),
        ((3, 2), (3, 2), ()),
        ((2, 2), (3, 2, 2), ()),
        ((3, 2), (3, 2, 2), (1, 2)),
    ],
)
def test_what_does_not_fit_is_refused(
    before: tuple[int, ...], after: tuple[int, ...], counts: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"expected|must be"):
        Opinions(DETECTORS, torch.zeros(before), torch.zeros(after), counts)


def test_opinions_of_other_images_are_refused(
    tiny_explanation: Explanation,
) -> None:
    other = Opinions(DETECTORS, torch.zeros(2, 2), torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match="second_opinion"):
        replace(tiny_explanation, second_opinion=other)


EDIT = ["images", 0, "counterfactuals", 0, "second_opinion"]


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ([*EDIT, 0, "score"], 1.5, "score must lie between 0 and 1"),
        ([*EDIT, 0, "score"], None, "score is no number"),
        ([*EDIT, 0, "accepts"], 1, "accepts"),
        ([*EDIT, 0, "detector"], "other", "other detectors"),
        ([*EDIT], [], None),
        ([*EDIT], {}, "second_opinion is no list"),
        ([*EDIT], [1], "an opinion is no JSON object"),
        ([*EDIT, 0, "accepts"], False, "what a second opinion accepts"),
        (["images", 1, "second_opinion", 0, "accepts"], False, "what a second opinion accepts"),
        (["second_opinion"], [], "instead of 1"),
        (["second_opinion", 0, "threshold"], -1, "threshold"),
        (["second_opinion", 0, "detector"], "padim", "twice"),
        (["second_opinion", 0, "normal_images"], 1.5, "normal_images"),
        (["second_opinion", 0, "auroc"], "good", "auroc"),
        (["normal_accepted_by"], [1, 2], "2 numbers instead of 3"),
        (["normal_accepted_by"], [1, 2, -1], "normal_accepted_by"),
    ],
)
def test_a_document_that_does_not_fit_is_refused(
    explanation: Explanation, tmp_path: Path, where: list[Any], value: Any, message: str | None
) -> None:
    explanation.save(tmp_path)
    document = read_json(tmp_path / "explanation.json")
    inner: Any = document
    for key in where[:-1]:
        inner = inner[key]
    inner[where[-1]] = value
    (tmp_path / "explanation.json").write_text(json.dumps(document))
    if message is None:
        assert opinions_of(Explanation.load(tmp_path)).after(0, 0) == ()
        return
    with pytest.raises(UserError, match=message):
        Explanation.load(tmp_path)


def test_totals_of_a_document(explanation: Explanation, tmp_path: Path) -> None:
    explanation.save(tmp_path)
    totals = read_document(tmp_path).opinions
    assert totals == OpinionTotals(
        edits=Counter({2: 2, 1: 2, 0: 1}),
        valid_edits=Counter({2: 1, 1: 1, 0: 1}),
        before=Counter({0: 1, 1: 1, 2: 1}),
    )
    assert (totals.asked, totals.accepted_by_all(2), totals.valid_and_accepted(2)) == (5, 0.4, 0.2)
    assert shares(totals.edits, 2) == [0.2, 0.4, 0.4]


def test_without_a_second_opinion_there_are_no_shares(tiny_explanation: Explanation) -> None:
    totals = OpinionTotals()
    assert totals.accepted_by_all(2) is totals.valid_and_accepted(2) is None
    assert shares(totals.edits, 2) == []
    assert tiny_explanation.head.second_opinion == ()


@given(
    st.lists(
        st.lists(st.tuples(st.booleans(), st.lists(st.booleans(), max_size=2)), max_size=3),
        max_size=5,
    ),
    st.integers(0, 5),
)
def test_totals_of_parts_are_those_of_the_whole(
    images: list[list[tuple[bool, list[bool]]]], cut: int
) -> None:
    def opinions(accepts: list[bool]) -> list[Opinion]:
        return [Opinion(str(n), 0.5, accepted) for n, accepted in enumerate(accepts)]

    entries = [
        ExplainedImage(
            "a.png",
            1.0,
            1.0,
            True,
            counterfactuals=[
                Counterfactual(k, "", 0.1, 0.1, valid, (), second_opinion=opinions(accepts))
                for k, (valid, accepts) in enumerate(edits)
            ],
            second_opinion=opinions([True]),
        )
        for edits in images
    ]
    whole = OpinionTotals.of(entries)
    assert OpinionTotals.of(entries[:cut]) + OpinionTotals.of(entries[cut:]) == whole
    assert whole.asked == sum(bool(accepts) for edits in images for _, accepts in edits)
