"""What is said of the surrogate of a black box, from the facts of an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ifnormal.common.json_reading import number_or_none
from ifnormal.report.wording import percent

# From this share on of edits that only the surrogate calls normal, a caution is due: the
# generator has learned to please the surrogate rather than the detector.
FOOLED = 0.05


def surrogate_sentences(facts: Mapping[str, Any]) -> list[str]:
    """How many queries a surrogate took and how well it imitates its black box; [] without one.

    Args:
        facts: of an explanation; `surrogate` is as `Distillation.report` returns it, and figures
            that it lacks are left out.
    """
    surrogate = _mapping(facts, "surrogate")
    if not surrogate:
        return []
    queries, fresh = _mapping(surrogate, "queries"), _mapping(surrogate, "on_fresh_edits")
    used, budget = number_or_none(queries, "used"), number_or_none(queries, "budget")
    said = "The detector is a black box, explained through a surrogate"
    if used is not None:
        of = "" if budget is None else f" of {budget:,.0f}"
        said += f" that took {used:,.0f}{of} queries"
    sentences = [f"{said}; every score here is the detector’s own."]
    agreement, images = number_or_none(fresh, "agreement"), number_or_none(fresh, "images")
    if agreement is not None and images:
        sentences.append(
            f"Of {images:,.0f} fresh edits both judge {percent(agreement)} alike: flagged or not."
        )
    fooled = number_or_none(fresh, "fooled")
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
