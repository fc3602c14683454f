"""What is said of a detector that was trained for the explanation, from the facts of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ifnormal.common.json_reading import number_or_none
from ifnormal.report.wording import joined


def trained_sentences(facts: Mapping[str, Any]) -> list[str]:
    """Which kind it is, how well it tells images apart, and why it was chosen.

    Args:
        facts: of an explanation; `trained_detector` is as `ifnormal.jobs.own_detector` writes it,
            and figures that are missing are left out.
    """
    trained = facts.get("trained_detector")
    if not isinstance(trained, Mapping) or "kind" not in trained:
        return []
    said = f"The detector is of the kind {trained['kind']}"
    count, auroc = number_or_none(trained, "trained_on"), number_or_none(trained, "auroc")
    if count is not None:
        said += f", trained on {count:,.0f} of the normal images"
    held_out = number_or_none(trained, "held_out")
    if auroc is not None and held_out is not None:
        said += f"; its AuROC of {held_out:,.0f} others against synthetic outliers is {auroc:.1f} %"
    sentences = [f"{said}."]
    candidates = trained.get("candidates")
    if isinstance(candidates, Mapping) and candidates:
        figures = joined([f"{kind} {value:.1f}" for kind, value in candidates.items()])
        sentences.append(f"None was named, so the best one was chosen: {figures} %.")
    given, used = number_or_none(trained, "given"), number_or_none(trained, "used")
    if given is not None and used is not None and used < given:
        sentences.append(f"Of {given:,.0f} normal images, {used:,.0f} were used for that.")
    return sentences
