"""The gallery's data: a thumbnail and a few facts of each image, and the details one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from ifnormal.report.details import embedded_detail, linked_detail
from ifnormal.report.listing import Entry, Listing
from ifnormal.report.page import page_json
from ifnormal.report.picture import (
    PIXELATED_SIDE,
    THUMBNAIL_SIDE,
    data_uri,
    is_small,
    read_pixels,
    shrink,
)
from ifnormal.report.wording import short_line

# Characters of the details that the page holds itself.
BUDGET = 24_000_000
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
    """

    index: str
    details: Sequence[tuple[int, str]]
    shown: int
    unexplained: int
    beside: int


def make_gallery(
    listing: Listing, beside: str, writing: Mapping[str, Any], budget: int = BUDGET
) -> Gallery:
    """Thumbnails of all, details of as many as `budget` allows; the most anomalous first.

    Pictures are read and encoded one image after the other, so that memory grows with the page
    alone.

    Args:
        listing: the explanation.
        beside: where the pictures lie, seen from the page, such as "explanation/".
        writing: how the script writes scores.
        budget: characters of JSON with pictures in it; beyond it, pictures are linked.
    """
    explained, others, head = listing.explained, listing.others, listing.head
    images: list[dict[str, Any]] = []
    details: list[tuple[int, str]] = []
    left, linked = budget, 0
    for entry, (thumbnail, detail) in zip(explained, _pictures(listing, budget), strict=True):
        images.append({**_facts(entry), "thumb": thumbnail})
        if linked or detail is None or len(detail) > left:
            linked += 1
            detail = page_json(linked_detail(listing, entry, beside))
        else:
            left -= len(detail)
        details.append((entry.number, detail))
    images += [_facts(entry) for entry in others]
    height, width = head.shape[1:]
    index = {
        "threshold": head.own_threshold,
        "calibratedThreshold": head.calibrated_threshold,
        "higherIs": head.higher_is,
        "writing": writing,
        "concepts": listing.concept_names,
        "targets": head.traversal_targets,
        "asked": len(head.second_opinion),
        "size": (width, height) if explained else None,
        "pixelated": not explained or max(height, width) <= PIXELATED_SIDE,
        "images": images,
    }
    return Gallery(page_json(index), details, len(explained), len(others), linked)


def _pictures(listing: Listing, budget: int) -> Iterator[tuple[str, str | None]]:
    """Thumbnail and detail of each explained image, in order; no details once `budget` is spent.

    A few threads share the work, as Pillow releases the interpreter's lock.
    """

    def show(entry: Entry, with_detail: bool) -> tuple[str, str | None]:
        anomaly = read_pixels(listing.folder, str(entry.image.file))
        thumbnail = data_uri(shrink(anomaly, THUMBNAIL_SIDE), exact=is_small(anomaly))
        detail = page_json(embedded_detail(listing, entry, anomaly)) if with_detail else None
        return thumbnail, detail

    left = budget
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        for start in range(0, len(listing.explained), _AT_ONCE):
            part = listing.explained[start : start + _AT_ONCE]
            for thumbnail, detail in threads.map(show, part, repeat(left > 0)):
                left -= len(detail or "")
                yield thumbnail, detail


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "n": entry.number,
        "name": short_line(entry.image.path),
        "score": entry.image.own_score,
        "calibrated": entry.image.calibrated_score,
        "outcome": entry.outcome,
        "valid": [int(edit.valid) for edit in entry.edits],
        "second": [
            sum(opinion.accepts for opinion in edit.second_opinion) if edit.second_opinion else None
            for edit in entry.edits
        ],
    }


def details_html(gallery: Gallery) -> Iterator[str]:
    """The details as one data block each, so that a browser reads only those that are opened."""
    for number, detail in gallery.details:
        yield f'<script type="application/json" id="detail-{number}">{detail}</script>\n'
