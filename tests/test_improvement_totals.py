"""The totals of refinement and thrift are those of the images, however they are divided."""

from __future__ import annotations

from typing import Any

from ifnormal.explanation.entries import Counterfactual, ExplainedImage
from ifnormal.explanation.totals import REFINED, THRIFTY, ImprovementTotals


def image(*edits: tuple[bool, dict[str, Any] | None]) -> ExplainedImage:
    return ExplainedImage(
        "a.png",
        1.0,
        1.0,
        True,
        "images/000000_anomaly.png",
        [
            Counterfactual(k, f"images/000000_concept{k}.png", 0.1, 0.1, valid, (), refined=note)
            for k, (valid, note) in enumerate(edits)
        ],
    )


def note(why: str, valid: bool, before: float, after: float) -> dict[str, Any]:
    return {"why": why, "valid_before": valid, "mse_before": before, "mse_after": after}


IMAGES = [
    image((True, note(f"{REFINED}; {THRIFTY}", False, 0.2, 0.1)), (True, None)),
    image((True, note(THRIFTY, True, 0.4, 0.1)), (False, None)),
    image(),
]


def test_before_and_after_of_all_images() -> None:
    totals = ImprovementTotals.of(IMAGES)
    assert (totals.counterfactuals, totals.changed, totals.refined, totals.reverted) == (4, 2, 1, 2)
    assert (totals.valid_before, totals.valid_after) == (2, 3)
    assert str(totals) == (
        "2 of 4 counterfactuals were changed after the generator (1 refined, 2 with needless edits "
        "reverted): the detector accepted 50.0 % before, 75.0 % now; mean squared change of those "
        "0.3 before, 0.1 now."
    )
    parts = [ImprovementTotals.of([image]) for image in IMAGES]
    assert sum(parts, ImprovementTotals()) == totals


def test_nothing_changed_is_nothing_to_say() -> None:
    assert str(ImprovementTotals()) == ""
    assert str(ImprovementTotals.of([image((False, None))])) == ""


def test_a_note_of_somebody_else_counts_as_far_as_it_says_something() -> None:
    strange = {"why": None, "valid_before": "no", "mse_before": float("nan"), "mse_after": "2"}
    totals = ImprovementTotals.of([image((True, strange), (True, {}))])
    assert (totals.changed, totals.measured) == (2, 0)
    assert str(totals) == (
        "2 of 2 counterfactuals were changed after the generator: the detector accepted 50.0 % "
        "before, 100.0 % now."
    )
