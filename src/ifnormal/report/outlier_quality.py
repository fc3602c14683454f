"""What to know of the synthetic outliers that an explainer learned from, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ifnormal.common.json_reading import number_or_none


def outlier_quality_sentences(facts: Mapping[str, Any]) -> list[str]:
    """How many of the synthetic outliers were useless; [] where none were rated.

    Args:
        facts: of an explanation; `synthetic_outliers` is as `explainers.outlier_quality` makes it,
            and nothing is said where figures are missing.
    """
    quality = _mapping(_mapping(facts, "synthetic_outliers"), "quality")
    if reason := quality.get("not_rated"):
        return [f"The quality of the synthetic outliers is not known: {reason}"]
    names = ("rated", "useless", "indistinguishable", "unrealistic")
    rated, useless, indistinguishable, unrealistic = (number_or_none(quality, n) for n in names)
    if rated is None or useless is None or indistinguishable is None or unrealistic is None:
        return []
    said = (
        f"Of {rated:,.0f} synthetic outliers that were rated, {useless:,.0f} are useless: "
        f"{indistinguishable:,.0f} cannot be told from normal images and {unrealistic:,.0f} are "
        "far from anything here"
    )
    worst = [name for name in _mapping(quality, "kinds") if _is_mostly_useless(quality, name)]
    return [f"{said}; mostly useless kinds: {', '.join(worst)}." if worst else f"{said}."]


def _is_mostly_useless(quality: Mapping[str, Any], kind: str) -> bool:
    of_kind = _mapping(_mapping(quality, "kinds"), kind)
    rated, useless = number_or_none(of_kind, "rated"), number_or_none(of_kind, "useless")
    return rated is not None and useless is not None and 2 * useless > rated


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, Mapping) else {}
