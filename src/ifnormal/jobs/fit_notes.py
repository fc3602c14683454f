"""What a user should know of a fit, in sentences, from the facts of an explainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ifnormal.explainers.editor import editor_class
from ifnormal.report.outlier_quality import outlier_quality_sentences
from ifnormal.report.surrogate import surrogate_sentences


def fit_notes(facts: Mapping[str, Any]) -> list[str]:
    """One sentence a note: on the contract, the scores, the outliers, the surrogate.

    Args:
        facts: of the detector and of the explainer that was fitted to it.
    """
    notes = list(facts.get("contract", {}).get("notes", []))
    if (expected := facts.get("expected")) and expected["largest_there"] > expected["tolerance"]:
        notes.append(
            f"At {'x'.join(map(str, expected['edited_at']))}, where images are edited and scored, "
            f"the detector's scores are up to {expected['largest_there']:.3g} from those of the "
            "whole images; a larger --size brings them nearer."
        )
    if synthetic := facts.get("synthetic_outliers"):
        learned = editor_class(facts.get("generator", "pixel")).learns
        notes.append(
            f"The detector flags {synthetic['flagged']:,} of {synthetic['made']:,} synthetic "
            + ("outliers; the explainer learned from these." if learned else "outliers.")
        )
    return [*notes, *outlier_quality_sentences(facts), *surrogate_sentences(facts)]
