"""The explanation folder's document, `explanation.json`: its entries, safely read and streamed.

The format is described in `explanation.schema.json` and, in words, in docs/explanation-format.md.
Nothing here loads a picture or needs torch, and neither writing nor reading holds the document as
a whole: an explanation may be of 100,000 images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from ifnormal.common.errors import UserError
from ifnormal.common.json_reading import (
    a_list,
    a_number,
    an_object,
    json_events,
    numbers,
    text,
    truth,
)
from ifnormal.common.storage import open_atomic, plain
from ifnormal.explanation.entries import (
    Counterfactual,
    ExplainedImage,
    Head,
    SkippedImage,
    Traversal,
)
from ifnormal.explanation.totals import Counts

DOCUMENT = "explanation.json"
FORMAT = "ifnormal.explanation"
SCHEMA_VERSION = 2
# What a picture of ours is called; the first pattern also knows those of earlier versions.
PICTURE = re.compile(r"\d{4,}_(anomaly|heatmap|concept\d+(_way)?)\.png")
_FILE = re.compile(r"images/\d{6,}_(anomaly|heatmap|concept\d+(_way)?)\.png")

_STREAMED = ("images", "skipped")
_THRESHOLDS = ("threshold", "calibrated_threshold")
_KEYS = {"own_score": "score", "own_scores": "scores"}


@dataclass(frozen=True)
class Document:
    """An explanation folder without its pictures; every entry was checked when it was opened.

    Attributes:
        folder: where it is; `folder / entry.file` is a picture.
        head: what holds for all images.
        counts: how many there are of what.
    """

    folder: Path
    head: Head
    counts: Counts

    def images(self) -> Iterator[ExplainedImage]:
        """All images that were scored, in order, read from disk one after the other."""
        return _images(self.folder, self.head)

    def skipped(self) -> Iterator[SkippedImage]:
        """The files that could not be read."""
        return _skipped(self.folder)


def read_document(folder: Path) -> Document:
    """Open an explanation folder.

    Raises:
        UserError: there is none, it is damaged, of another version, or does not fit together.
    """
    folder = Path(folder)
    head = _read_head(folder)
    return Document(folder, head, Counts.of(_images(folder, head), _skipped(folder)))


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
    }
    with open_atomic(folder / DOCUMENT) as file:
        lines = (f'"{key}": {_dump(value)},\n' for key, value in first.items())
        file.write(("{\n" + "".join(lines)).encode())
        for key, entries, last in (("images", images, ","), ("skipped", skipped, "")):
            file.write(f'"{key}": ['.encode())
            separator = "\n"
            for entry in entries:
                file.write((separator + _dump(as_written(entry))).encode())
                separator = ",\n"
            file.write(f"\n]{last}\n".encode())
        file.write(b"}\n")
    return folder / DOCUMENT


def heatmap_name(number: int) -> str:
    """The path of the heatmap that belongs to `picture_name(number)`."""
    return f"images/{number:06d}_heatmap.png"


def picture_name(number: int, concept: int | None = None, traversal: bool = False) -> str:
    """A picture's path in the folder; a number, as the user's names may hold anything."""
    kind = "anomaly" if concept is None else f"concept{concept}{'_way' if traversal else ''}"
    return f"images/{number:06d}_{kind}.png"


def pictures_of(image: ExplainedImage) -> list[str]:
    """Every picture of an image."""
    edits = image.counterfactuals
    strips = [edit.traversal.file for edit in edits if edit.traversal]
    whole = [file for file in (image.file, image.heatmap) if file]
    return [*whole, *(edit.file for edit in edits), *strips]


def as_written(entry: ExplainedImage | SkippedImage) -> dict[str, Any]:
    """An entry as the JSON has it, where the scores in the user's own units have shorter names."""
    return asdict(entry, dict_factory=lambda items: {_KEYS.get(k, k): v for k, v in items})


def parse_image(value: Any, head: Head) -> ExplainedImage:
    """An entry of `images` from its JSON.

    Raises:
        ValueError: it is not as it should be; says what of it.
    """
    entry = an_object(value, "an image")
    edits = a_list(entry.get("counterfactuals"), "counterfactuals")
    file = None if entry.get("file") is None else _file(entry["file"])
    if len(edits) != (0 if file is None else head.concepts):
        raise ValueError(f"it has {len(edits)} counterfactuals of {head.concepts}")
    heatmap = None if entry.get("heatmap") is None else _file(entry["heatmap"])
    if heatmap and not file:
        raise ValueError("it has a heatmap and no picture")
    return ExplainedImage(
        path=text(entry, "path"),
        own_score=a_number(entry, "score"),
        calibrated_score=a_number(entry, "calibrated_score"),
        flagged=truth(entry, "flagged"),
        file=file,
        counterfactuals=tuple(_edit(edit, k, head) for k, edit in enumerate(edits)),
        heatmap=heatmap,
    )


def parse_skipped(value: Any) -> SkippedImage:
    """An entry of `skipped` from its JSON; a ValueError says what is wrong."""
    entry = an_object(value, "a skipped image")
    return SkippedImage(text(entry, "path"), text(entry, "reason"))


def _edit(value: Any, concept: int, head: Head) -> Counterfactual:
    entry = an_object(value, "a counterfactual")
    if entry.get("concept") != concept or isinstance(entry["concept"], bool):
        raise ValueError(f"counterfactual {concept} is of concept {entry.get('concept')}")
    traversal, refined = entry.get("traversal"), entry.get("refined")
    return Counterfactual(
        concept=concept,
        file=_file(entry.get("file")),
        own_score=a_number(entry, "score"),
        calibrated_score=a_number(entry, "calibrated_score"),
        valid=truth(entry, "valid"),
        concept_probabilities=numbers(entry, "concept_probabilities", head.concepts),
        traversal=None if traversal is None else _traversal(traversal, len(head.traversal_targets)),
        refined=None if refined is None else an_object(refined, "refined"),
    )


def _traversal(value: Any, steps: int) -> Traversal:
    entry = an_object(value, "a traversal")
    scores = numbers(entry, "scores", steps)
    return Traversal(_file(entry.get("file")), scores, numbers(entry, "calibrated_scores", steps))


def _read_head(folder: Path) -> Head:
    values: dict[str, Any] = {}
    lists = set()
    for key, number, value in json_events(folder / DOCUMENT, _STREAMED):
        if number is None:
            values[key] = value
        elif number < 0:
            lists.add(key)
    if values.get("format") != FORMAT or values.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{folder / DOCUMENT} is not an explanation of schema version {SCHEMA_VERSION}; "
            "write it again with this version of ifnormal."
        )
    try:
        if lists != {"images", "skipped"}:
            raise ValueError(f"there is no list of {', '.join({'images', 'skipped'} - lists)}")
        return _head(values)
    except ValueError as error:
        _refuse(folder, f"{error}")


def _head(values: Mapping[str, Any]) -> Head:
    detector = dict(an_object(values.get("detector"), "detector"))
    shape, higher = detector.pop("shape", None), detector.pop("higher_is", None)
    if not _is_shape(shape):
        raise ValueError(f"the shape {shape} is none of a grey or RGB image")
    if higher not in ("anomalous", "normal"):
        raise ValueError("higher_is must be anomalous or normal")
    threshold = a_number(detector, "threshold")
    calibrated_threshold = a_number(detector, "calibrated_threshold")
    concepts, targets = values.get("concepts"), values.get("traversal_targets")
    if not isinstance(concepts, int) or isinstance(concepts, bool) or concepts < 1:
        raise ValueError(f"concepts must be a whole number above 0, is {concepts}")
    return Head(
        concepts=concepts,
        shape=(shape[0], shape[1], shape[2]),
        own_threshold=threshold,
        calibrated_threshold=calibrated_threshold,
        higher_is=higher,
        traversal_targets=numbers(values, "traversal_targets", len(a_list(targets, "targets"))),
        detector={k: v for k, v in detector.items() if k not in _THRESHOLDS},
        facts=an_object(values.get("facts"), "facts"),
    )


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(side, int) and side > 0 for side in value)
        and value[0] in (1, 3)
    )


def _images(folder: Path, head: Head) -> Iterator[ExplainedImage]:
    for number, value in _items(folder, "images"):
        try:
            image = parse_image(value, head)
        except ValueError as error:
            _refuse(folder, f"image {number}: {error}")
        yield image


def _skipped(folder: Path) -> Iterator[SkippedImage]:
    for number, value in _items(folder, "skipped"):
        try:
            skipped = parse_skipped(value)
        except ValueError as error:
            _refuse(folder, f"skipped image {number}: {error}")
        yield skipped


def _items(folder: Path, name: str) -> Iterator[tuple[int, Any]]:
    for key, number, value in json_events(folder / DOCUMENT, _STREAMED):
        if key == name and number is not None and number >= 0:
            yield number, value


def _refuse(folder: Path, reason: str) -> NoReturn:
    raise UserError(
        f"{folder / DOCUMENT} does not fit together ({reason}); restore the folder or write it "
        "again."
    ) from None


def _dump(value: Any) -> str:
    return json.dumps(value, allow_nan=False, default=plain)


def _file(value: Any) -> str:
    """A picture's path: only the names that we give, so that none leads out of the folder."""
    if not isinstance(value, str) or not _FILE.fullmatch(value):
        raise ValueError(f"{str(value)[:80]!r} is no picture of an explanation")
    return value
