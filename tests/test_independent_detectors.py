"""Independent detectors are tried on normal images, asked about every edit, and counted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from ifnormal.common.errors import UserError
from ifnormal.data.files.finding import find_images
from ifnormal.evaluation.acceptance import (
    accepted_by_all,
    anomalies_accepted_by_all,
    normal_accepted_by_all,
    valid_and_accepted,
)
from ifnormal.evaluation.independent_detectors import IndependentDetectors
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.scored_edits import answer
from ifnormal.explanation.document import read_document
from ifnormal.explanation.entries import SecondDetector
from ifnormal.explanation.explanation import Explanation
from ifnormal.explanation.opinion_totals import OpinionTotals
from ifnormal.jobs.stream import Streaming, explain_images
from known_detectors import COLOR, KnownDetector, blue, mean_color, red


def says(threshold: float) -> KnownDetector:
    """Scores every image 0.5."""
    detector = KnownDetector(torch.zeros(COLOR))
    detector.threshold = threshold
    return detector


@pytest.fixture(scope="module")
def three() -> IndependentDetectors:
    """One flags what is red, one everything, one nothing."""
    detectors = {"colour": mean_color(), "strict": says(0.4), "blind": says(0.5)}
    return IndependentDetectors.tried_on(detectors, blue(4), red(3))


def test_they_are_tried_on_held_out_images(three: IndependentDetectors) -> None:
    assert three.facts == (
        SecondDetector("colour", 0.5, 4, 1.0, 1.0),
        SecondDetector("strict", 0.4, 4, 0.0, 0.5),
        SecondDetector("blind", 0.5, 4, 1.0, 0.5),
    )
    assert three.normal_accepted_by == (0, 0, 4, 0)


def test_without_held_out_images_nothing_is_claimed() -> None:
    panel = IndependentDetectors.tried_on({"colour": mean_color()}, blue(0), red(3))
    assert panel.facts == (SecondDetector("colour", 0.5, 0, None, None),)
    assert panel.normal_accepted_by == ()


@pytest.fixture
def asked() -> Explanation:
    """Two red images, each made blue by concept 0 and left red by concept 1."""
    edits = torch.stack([blue(2), red(2)], 1)
    given = answer(mean_color(), red(2), edits, ["a", "b"], {})
    panel = {"colour": mean_color(), "blind": says(0.5)}
    return IndependentDetectors.tried_on(panel, blue(4)).ask(given)


def test_every_anomaly_and_edit_is_asked_about(asked: Explanation) -> None:
    opinions = asked.second_opinion
    assert opinions is not None
    assert opinions.accepts_before.tolist() == [[False, True]] * 2
    assert opinions.accepts_after.tolist() == [[[True, True], [False, True]]] * 2
    assert accepted_by_all(opinions) == [100.0, 0.0]
    assert valid_and_accepted(asked) == [100.0, 0.0]
    assert normal_accepted_by_all(opinions) == 100.0
    assert anomalies_accepted_by_all(opinions) == 0.0


def test_figures_leave_out_what_nobody_was_asked_about(asked: Explanation) -> None:
    opinions = asked.second_opinion
    assert opinions is not None
    some = opinions.without(torch.tensor([[True, True], [False, True]]))
    assert accepted_by_all(opinions.without(torch.tensor([[True, False], [False, True]]))) == [
        100.0,
        0.0,
    ]
    assert accepted_by_all(some) is None
    assert anomalies_accepted_by_all(opinions.select([])) is None
    assert accepted_by_all(opinions.select([])) is None


def test_valid_edits_may_be_refused_by_the_others() -> None:
    edits = torch.stack([blue(2), red(2)], 1)
    given = answer(says(0.5), red(2), edits, ["a", "b"], {})
    asked = IndependentDetectors.tried_on({"colour": mean_color()}, blue(4)).ask(given)
    assert asked.valid.all()
    assert valid_and_accepted(asked) == [100.0, 0.0]
    assert valid_and_accepted(given) is None


@pytest.mark.usefixtures("small_parts")
class TestStreamed:
    def panel(self) -> IndependentDetectors:
        return IndependentDetectors.tried_on(
            {"colour": mean_color(), "strict": says(0.4)}, blue(6, seed=9)
        )

    def test_opinions_are_written_and_summed_over_parts(
        self, explainer: Explainer, pictures: Path, tmp_path: Path
    ) -> None:
        files = find_images([pictures])
        for _ in range(2):  # made, and then found
            summary = explain_images(explainer, files, tmp_path, independent=self.panel())
            document = read_document(tmp_path)
            assert summary.opinions == document.opinions == OpinionTotals.of(document.images())
            assert summary.opinions.asked == summary.counts.counterfactuals == 18
            assert summary.opinions.before == Counter({0: 9})
            assert summary.opinions.edits == Counter(
                {1: summary.counts.valid, 0: 18 - summary.counts.valid}
            )
            assert [one.detector for one in summary.head.second_opinion] == ["colour", "strict"]
        assert document.head.normal_accepted_by == (0, 6, 0)
        loaded = Explanation.load(tmp_path)
        assert loaded.second_opinion is not None
        assert torch.equal(loaded.second_opinion.accepts_after[..., 0], loaded.valid)

    def test_other_detectors_are_another_explanation(
        self, explainer: Explainer, pictures: Path, tmp_path: Path
    ) -> None:
        files = find_images([pictures])
        explain_images(explainer, files, tmp_path, independent=self.panel())
        other = IndependentDetectors.tried_on({"colour": mean_color()}, blue(6))
        for independent in (None, other):
            with pytest.raises(UserError, match="begun with other options"):
                explain_images(explainer, files, tmp_path, independent=independent)
        how = Streaming(fresh=True)
        assert explain_images(explainer, files, tmp_path, how).opinions == OpinionTotals()

    def test_they_are_asked_about_what_was_improved(
        self, explainer: Explainer, pictures: Path, tmp_path: Path
    ) -> None:
        def improve(explanation: Explanation) -> Explanation:
            n, k = explanation.counterfactuals.shape[:2]
            return explanation.with_counterfactuals(
                torch.ones(n, k, dtype=torch.bool),
                blue(n * k),
                torch.zeros(n * k),
                torch.zeros(n * k),
                torch.full((n * k, k), 1 / k),
            )

        files = find_images([pictures])
        summary = explain_images(explainer, files, tmp_path, None, improve, self.panel())
        assert summary.opinions.edits == Counter({1: 18})
