"""The gallery's data: a thumbnail and a few facts of each image, and the details of one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any
from urllib.parse import quote

from ifnormal.common.json_reading import number_or_none
from ifnormal.explanation.entries import Counterfactual
from ifnormal.report.colour_change import difference
from ifnormal.report.listing import Entry, Listing
from ifnormal.report.page import page_json
from ifnormal.report.picture import (
    LARGEST_DIFFERENCE_SIDE,
    THUMBNAIL_SIDE,
    Pixels,
    data_uri,
    frames_of,
    heatmap_pixels,
    image_uri,
    is_small,
    read_pixels,
    shrink,
    strip_uri,
)
from ifnormal.report.provenance import written
from ifnormal.report.reading import Truth
from ifnormal.report.wording import concept_name, short_line

# Characters of the details that the page holds itself.
BUDGET = 24_000_000
# What the page says of a refinement in words of its own.
_SAID = ("why", "score_before", "valid_before", "mse_before", "mse_after")
# Images whose pictures are in memory together.
_AT_ONCE = 16


@dataclass(frozen=True)
class Gallery:
    """Everything the page's script shows, as JSON texts.

    Attributes:
        index: facts of the whole, and of each image those that filters and thumbnails need.
        details: (number, JSON) of each explained image that is shown.
        shown: explained images in it.
        unexplained: other images in it, which have no picture.
        beside: explained images whose pictures stay in the folder beside the page.
        pixels: (width, height) of the images; None if there are none.
        pixelated: show pixels as squares.
    """

    index: str
    details: Sequence[tuple[int, str]]
    shown: int
    unexplained: int
    beside: int
    pixels: tuple[int, int] | None
    pixelated: bool


@dataclass(frozen=True)
class _Loaded:
    """The pictures of one image, read once for all that is made of them."""

    anomaly: Pixels
    heatmap: Pixels | None
    edits: Sequence[Pixels]


@dataclass(frozen=True)
class _Shown:
    """What the page shows of one image."""

    thumbnail: str
    detail: str | None
    size: tuple[int, int]
    is_small: bool


def make_gallery(
    listing: Listing,
    truth: Truth | None,
    beside: str,
    writing: Mapping[str, Any],
    budget: int = BUDGET,
) -> Gallery:
    """Thumbnails of all, details of as many as `budget` allows; the most anomalous first.

    Pictures are read and written one image after the other: memory goes with what the page holds.

    Args:
        listing: the images.
        truth: the judge's verdicts.
        beside: where the pictures lie, seen from the page, such as "explanation/".
        writing: how the script writes scores.
        budget: characters of JSON with pictures in it; those of the rest are only named.
    """
    explained, others, head = listing.explained, listing.others, listing.head
    images: list[dict[str, Any]] = []
    details: list[tuple[int, str]] = []
    left, linked = budget, 0
    size: tuple[int, int] | None = None
    small = True
    for entry, shown in zip(explained, _pictures(listing, explained, truth, budget), strict=True):
        if size is None:
            size, small = shown.size, shown.is_small
        images.append({**_facts(entry), "thumb": shown.thumbnail})
        if linked or shown.detail is None or len(shown.detail) > left:
            linked += 1
            details.append((entry.number, page_json(_linked_detail(entry, truth, beside))))
        else:
            left -= len(shown.detail)
            details.append((entry.number, shown.detail))
    images += [_facts(entry) for entry in others]
    index = {
        "threshold": head.own_threshold,
        "calibratedThreshold": head.calibrated_threshold,
        "higherIs": head.higher_is,
        "writing": writing,
        "concepts": [concept_name(k, listing.prompts) for k in range(head.concepts)],
        "targets": head.traversal_targets,
        "size": size,
        "pixelated": small,
        "images": images,
    }
    return Gallery(page_json(index), details, len(explained), len(others), linked, size, small)


def _pictures(
    listing: Listing, entries: Sequence[Entry], truth: Truth | None, budget: int
) -> Iterator[_Shown]:
    """What the page shows of each image, in order; without details once `budget` is spent.

    Reading and writing pictures leaves Python to others, so a few threads share it.
    """

    def show(entry: Entry, with_detail: bool) -> _Shown:
        loaded = _load(listing, entry, with_detail)
        return _Shown(
            thumbnail=_thumbnail(loaded.anomaly),
            detail=page_json(_detail(listing, entry, truth, loaded)) if with_detail else None,
            size=(loaded.anomaly.shape[1], loaded.anomaly.shape[0]),
            is_small=is_small(loaded.anomaly),
        )

    left = budget
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        for start in range(0, len(entries), _AT_ONCE):
            part = entries[start : start + _AT_ONCE]
            for shown in threads.map(show, part, repeat(left > 0)):
                left -= len(shown.detail or "")
                yield shown


def _load(listing: Listing, entry: Entry, with_edits: bool) -> _Loaded:
    folder = listing.folder
    return _Loaded(
        anomaly=read_pixels(folder, str(entry.image.file)),
        heatmap=read_pixels(folder, entry.heatmap) if with_edits and entry.heatmap else None,
        edits=[read_pixels(folder, edit.file) for edit in entry.edits] if with_edits else [],
    )


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "n": entry.number,
        "name": short_line(entry.image.path),
        "score": entry.image.own_score,
        "calibrated": entry.image.calibrated_score,
        "outcome": entry.outcome,
        "valid": [int(edit.valid) for edit in entry.edits],
    }


def _thumbnail(anomaly: Pixels) -> str:
    return data_uri(shrink(anomaly, THUMBNAIL_SIDE), exact=is_small(anomaly))


def _detail(listing: Listing, entry: Entry, truth: Truth | None, loaded: _Loaded) -> dict[str, Any]:
    """The pictures of one image as data URIs."""

    def pictures(edit: Counterfactual, after: Pixels) -> dict[str, Any]:
        changed = difference(loaded.anomaly, after)
        return {
            "image": image_uri(after),
            "difference": image_uri(changed, LARGEST_DIFFERENCE_SIDE),
            "way": None
            if edit.traversal is None
            else strip_uri(_frames(listing, edit.traversal.file)),
        }

    heatmap = None if loaded.heatmap is None else heatmap_pixels(loaded.heatmap)
    return {
        "image": image_uri(loaded.anomaly),
        "heatmap": None if heatmap is None else image_uri(heatmap, LARGEST_DIFFERENCE_SIDE),
        "edits": [
            {**_edit_facts(entry, edit, truth), **pictures(edit, after)}
            for edit, after in zip(entry.edits, loaded.edits, strict=True)
        ],
    }


def _linked_detail(entry: Entry, truth: Truth | None, beside: str) -> dict[str, Any]:
    """The pictures of one image by their place beside the page."""

    def link(file: str) -> str:
        return quote(beside + file)

    return {
        "linked": True,
        "image": link(str(entry.image.file)),
        "heatmap": None,
        "edits": [
            {
                **_edit_facts(entry, edit, truth),
                "image": link(edit.file),
                "difference": None,
                "way": None if edit.traversal is None else link(edit.traversal.file),
            }
            for edit in entry.edits
        ],
    }


def _frames(listing: Listing, file: str) -> list[Pixels]:
    strip = read_pixels(listing.folder, file)
    return frames_of(strip, len(listing.head.traversal_targets), str(listing.folder / file))


def _edit_facts(entry: Entry, edit: Counterfactual, truth: Truth | None) -> dict[str, Any]:
    judged = truth.of(entry, edit.concept) if truth else None
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
    }


def _refinement(refined: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a refinement: why, or else whatever is said of it; and how it was before."""
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
        "squaredChange": [
            number_or_none(refined, "mse_before"),
            number_or_none(refined, "mse_after"),
        ],
    }


def details_html(gallery: Gallery) -> Iterator[str]:
    """The details as one data block each, so that a browser reads only those that are opened."""
    for number, detail in gallery.details:
        yield f'<script type="application/json" id="detail-{number}">{detail}</script>\n'
