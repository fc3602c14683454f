"""A black box's surrogate in words: what it cost, and how far it can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ifnormal.explanation.totals import figure
from ifnormal.report.wording import percent

# From here on the generator has learned to please the surrogate rather than the detector.
FOOLED = 0.05


def surrogate_sentences(facts: Mapping[str, Any]) -> list[str]:
    """What `facts["surrogate"]`, as `Distillation.report` gives it, says; nothing without it.

    Args:
        facts: of an explanation; a figure that is missing or none is not spoken of.
    """
    surrogate = _mapping(facts, "surrogate")
    if not surrogate:
        return []
    queries, fresh = _mapping(surrogate, "queries"), _mapping(surrogate, "on_fresh_edits")
    used, budget = figure(queries, "used"), figure(queries, "budget")
    said = "The detector is a black box, explained through a surrogate"
    if used is not None:
        of = "" if budget is None else f" of {budget:,.0f}"
        said += f" that took {used:,.0f}{of} queries"
    sentences = [f"{said}; every score here is the detector’s own."]
    agreement, images = figure(fresh, "agreement"), figure(fresh, "images")
    if agreement is not None and images:
        sentences.append(
            f"Of {images:,.0f} fresh edits both judge {percent(agreement)} alike: flagged or not."
        )
    fooled = figure(fresh, "fooled")
    if fooled is not None and fooled > FOOLED:
        sentences.append(
            f"Caution: the detector still flags {percent(fooled)} of the fresh edits that its "
            "surrogate calls normal, so some edits please the surrogate alone; more queries "
            "(--fit.surrogate.query_budget) may help."
        )
    return sentences


def _mapping(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = values.get(key)
    return value if isinstance(value, Mapping) else {}
