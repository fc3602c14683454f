"""Names of the pictures in an explanation folder. They are numbers, as paths may hold anything."""

from __future__ import annotations

import re
from typing import Any

from ifnormal.explanation.entries import ExplainedImage

_KIND = r"_(anomaly|heatmap|concept\d+(_way)?)\.png"
# A picture of any version: earlier ones wrote shorter numbers.
PICTURE = re.compile(r"\d{4,}" + _KIND)
_FILE = re.compile(r"images/\d{6,}" + _KIND)


def picture_name(number: int, concept: int | None = None, traversal: bool = False) -> str:
    """The path of an anomaly, of its counterfactual by a concept, or of that one's traversal."""
    kind = "anomaly" if concept is None else f"concept{concept}{'_way' if traversal else ''}"
    return f"images/{number:06d}_{kind}.png"


def heatmap_name(number: int) -> str:
    """The path of the heatmap that belongs to `picture_name(number)`."""
    return f"images/{number:06d}_heatmap.png"


def pictures_of(image: ExplainedImage) -> list[str]:
    """The paths of all pictures of an image."""
    edits = image.counterfactuals
    strips = [edit.traversal.file for edit in edits if edit.traversal]
    whole = [file for file in (image.file, image.heatmap) if file]
    return [*whole, *(edit.file for edit in edits), *strips]


def picture_path(value: Any) -> str:
    """A path that was read, if it has the form of ours, so that none leads out of the folder.

    Raises:
        ValueError: it has another form.
    """
    if not isinstance(value, str) or not _FILE.fullmatch(value):
        raise ValueError(f"{str(value)[:80]!r} is no picture of an explanation")
    return value
