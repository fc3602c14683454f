"""What the page shows of one image when it is opened: pictures and facts of its counterfactuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ifnormal.common.json_reading import number_or_none
from ifnormal.explanation.entries import Counterfactual
from ifnormal.report.colour_change import difference
from ifnormal.report.listing import Entry, Listing
from ifnormal.report.picture import (
    LARGEST_DIFFERENCE_SIDE,
    Pixels,
    frames_of,
    heatmap_pixels,
    image_uri,
    read_pixels,
    strip_uri,
)
from ifnormal.report.provenance import written
from ifnormal.report.second_opinion import make_badge
from ifnormal.report.wording import score, short_line

# Facts of a refinement for which the page has words of its own.
_SAID = ("why", "score_before", "valid_before", "mse_before", "mse_after")


def embedded_detail(listing: Listing, entry: Entry, anomaly: Pixels) -> dict[str, Any]:
    """An image with its pictures as data URIs; `anomaly` are its own pixels."""
    folder, side = listing.folder, LARGEST_DIFFERENCE_SIDE

    def pictures(edit: Counterfactual) -> dict[str, Any]:
        after = read_pixels(folder, edit.file)
        file = edit.traversal.file if edit.traversal else None
        return {
            "image": image_uri(after),
            "difference": image_uri(difference(anomaly, after), side),
            "traversal": None if file is None else strip_uri(_frames(listing, file)),
        }

    heat = None if entry.image.heatmap is None else read_pixels(folder, entry.image.heatmap)
    return {
        "image": image_uri(anomaly),
        "heatmap": None if heat is None else image_uri(heatmap_pixels(heat), side),
        "edits": [{**_facts(listing, entry, edit), **pictures(edit)} for edit in entry.edits],
    }


def linked_detail(listing: Listing, entry: Entry, beside: str) -> dict[str, Any]:
    """An image with its pictures as paths, which begin with `beside`, seen from the page."""

    def link(file: str) -> str:
        return quote(beside + file)

    def pictures(edit: Counterfactual) -> dict[str, Any]:
        strip = link(edit.traversal.file) if edit.traversal else None
        return {"image": link(edit.file), "difference": None, "traversal": strip}

    return {
        "linked": True,
        "image": link(str(entry.image.file)),
        "heatmap": None,
        "edits": [{**_facts(listing, entry, edit), **pictures(edit)} for edit in entry.edits],
    }


def _frames(listing: Listing, file: str) -> list[Pixels]:
    strip = read_pixels(listing.folder, file)
    return frames_of(strip, len(listing.head.traversal_targets), str(listing.folder / file))


def _facts(listing: Listing, entry: Entry, edit: Counterfactual) -> dict[str, Any]:
    judged = listing.truth.of(entry.row, edit.concept)
    return {
        "concept": edit.concept,
        "score": edit.own_score,
        "calibrated": edit.calibrated_score,
        "valid": edit.valid,
        "probabilities": [round(value, 4) for value in edit.concept_probabilities],
        "scores": edit.traversal.own_scores if edit.traversal else [],
        "calibratedScores": edit.traversal.calibrated_scores if edit.traversal else [],
        "refined": None if edit.refined is None else _refinement(edit.refined),
        "judge": None if judged is None else {"normal": judged.is_normal, "sees": judged.verdict},
        "second": _second_opinion(listing, entry, edit),
    }


def _second_opinion(listing: Listing, entry: Entry, edit: Counterfactual) -> dict[str, Any] | None:
    """The badge, and each independent detector's score before and after."""
    badge = make_badge(edit.second_opinion)
    if badge is None:
        return None
    before = {opinion.detector: score(opinion.score) for opinion in entry.image.second_opinion}
    return {
        "kind": badge.kind,
        "marks": badge.marks,
        "words": badge.words,
        "detectors": [
            {
                "name": short_line(opinion.detector),
                "before": before.get(opinion.detector, ""),
                "after": score(opinion.score),
                "threshold": score(asked.threshold),
                "accepts": opinion.accepts,
            }
            for opinion, asked in zip(edit.second_opinion, listing.head.second_opinion, strict=True)
        ],
    }


def _refinement(refined: Mapping[str, Any]) -> dict[str, Any]:
    """Why it was refined, or else whatever its note says; and how it was before."""
    valid = refined.get("valid_before")
    others = [
        f"{key.replace('_', ' ')} {written(value)}"
        for key, value in refined.items()
        if key not in _SAID and isinstance(value, str | int | float | bool)
    ]
    return {
        "why": short_line(str(refined.get("why") or ", ".join(others))),
        "scoreBefore": number_or_none(refined, "score_before"),
        "validBefore": valid if isinstance(valid, bool) else None,
        "squaredChange": [number_or_none(refined, key) for key in ("mse_before", "mse_after")],
    }
