"""explanation.json, written and read entry by entry, so that it may list any number of images.

The format is described in `explanation.schema.json` and, in words, in docs/explanation-format.md.
Nothing here reads a picture or needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from ifnormal.common.errors import UserError
from ifnormal.common.json_reading import json_events
from ifnormal.common.storage import open_atomic, plain
from ifnormal.explanation.entries import ExplainedImage, Head, SkippedImage
from ifnormal.explanation.opinion_totals import OpinionTotals
from ifnormal.explanation.parsing import parse_head, parse_image, parse_skipped
from ifnormal.explanation.totals import Counts

DOCUMENT = "explanation.json"
FORMAT = "ifnormal.explanation"
SCHEMA_VERSION = 3
# Version 2 knew no second opinion.
_READABLE = (2, SCHEMA_VERSION)

_LISTS = ("images", "skipped")
_IN_HEAD = {"format", "schema_version", "concepts", "detector", "traversal_targets", "facts"}
_SINCE_3 = {"second_opinion", "normal_accepted_by"}
# Scores in the user's own units have shorter names in JSON.
_JSON_KEYS = {"own_score": "score", "own_scores": "scores"}


@dataclass(frozen=True)
class Document:
    """An explanation folder without its pictures; every entry was checked when it was opened.

    Attributes:
        folder: where it is; `folder / entry.file` is a picture.
        head: what holds for all images.
        counts: how many images and counterfactuals there are.
        opinions: how many of them independent detectors accept.
    """

    folder: Path
    head: Head
    counts: Counts
    opinions: OpinionTotals

    def images(self) -> Iterator[ExplainedImage]:
        """All images that were scored, in order, read from disk one by one."""
        entries = read_entries(self.folder, self.head)
        return (entry for entry in entries if isinstance(entry, ExplainedImage))

    def skipped(self) -> Iterator[SkippedImage]:
        """The files that could not be explained."""
        entries = read_entries(self.folder, self.head)
        return (entry for entry in entries if isinstance(entry, SkippedImage))


def read_document(folder: Path) -> Document:
    """Open an explanation folder and check every entry.

    Raises:
        UserError: the document is missing, damaged, of another version or inconsistent.
    """
    folder = Path(folder)
    head = read_head(folder)
    counts, opinions = Counts(), OpinionTotals()
    for entry in read_entries(folder, head):
        counts += Counts.of([entry])
        opinions += OpinionTotals.of([entry])
    return Document(folder, head, counts, opinions)


def read_head(folder: Path) -> Head:
    """Read what holds for all images. Where it comes first, as we write it, no entry is read.

    Raises:
        UserError: the document is missing or of another version, or its head is damaged.
    """
    values: dict[str, Any] = {}
    for key, number, value in json_events(folder / DOCUMENT, _LISTS):
        if number is None:
            values[key] = value
        known = _IN_HEAD if values.get("schema_version") == 2 else _IN_HEAD | _SINCE_3
        if values.keys() >= known:
            break
    if values.get("format") != FORMAT or values.get("schema_version") not in _READABLE:
        raise UserError(
            f"{folder / DOCUMENT} is not an explanation of schema version 2 or {SCHEMA_VERSION}; "
            "write it again with this version of ifnormal."
        )
    try:
        return parse_head(values)
    except ValueError as error:
        refuse(folder, f"{error}")


def read_entries(folder: Path, head: Head) -> Iterator[ExplainedImage | SkippedImage]:
    """Read and check all images and skipped files, one by one, in one pass over the document.

    Raises:
        UserError: the document or an entry is damaged.
    """
    missing = set(_LISTS)
    for key, number, value in json_events(folder / DOCUMENT, _LISTS):
        if number is None:
            continue
        missing.discard(key)
        if number < 0:
            continue
        try:
            entry = parse_image(value, head) if key == "images" else parse_skipped(value)
        except ValueError as error:
            refuse(folder, f"{'' if key == 'images' else 'skipped '}image {number}: {error}")
        yield entry
    if missing:
        refuse(folder, f"there is no list of {', '.join(missing)}")


def write_document(
    folder: Path,
    head: Head,
    images: Iterable[ExplainedImage],
    skipped: Iterable[SkippedImage] = (),
) -> Path:
    """Write `explanation.json`, one image a line, atomically and in constant memory.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    from ifnormal.version import __version__

    detector = {
        **head.detector,
        "threshold": head.own_threshold,
        "calibrated_threshold": head.calibrated_threshold,
        "higher_is": head.higher_is,
        "shape": head.shape,
    }
    first = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "ifnormal_version": __version__,
        "concepts": head.concepts,
        "detector": detector,
        "traversal_targets": list(head.traversal_targets),
        "facts": head.facts,
        "second_opinion": [asdict(detector) for detector in head.second_opinion],
        "normal_accepted_by": list(head.normal_accepted_by),
    }
    with open_atomic(folder / DOCUMENT) as file:
        lines = (f'"{key}": {_dump(value)},\n' for key, value in first.items())
        file.write(("{\n" + "".join(lines)).encode())
        for key, entries, last in (("images", images, ","), ("skipped", skipped, "")):
            file.write(f'"{key}": ['.encode())
            separator = "\n"
            for entry in entries:
                file.write((separator + _dump(entry_json(entry))).encode())
                separator = ",\n"
            file.write(f"\n]{last}\n".encode())
        file.write(b"}\n")
    return folder / DOCUMENT


def refuse(folder: Path, reason: str) -> NoReturn:
    """Raise the UserError of a document that contradicts itself."""
    raise UserError(
        f"{folder / DOCUMENT} does not fit together ({reason}); restore the folder or write it "
        "again."
    ) from None


def entry_json(entry: ExplainedImage | SkippedImage) -> dict[str, Any]:
    """An entry of the lists as JSON."""
    return asdict(entry, dict_factory=lambda items: {_JSON_KEYS.get(k, k): v for k, v in items})


def _dump(value: Any) -> str:
    return json.dumps(value, allow_nan=False, default=plain)
