"""The list of an explanation folder: every image with its scores, and its pictures by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ifnormal.errors import UserError
from ifnormal.storage import read_json

FORMAT = "ifnormal.explanation"
VERSION = 2

Outcome = Literal["all", "some", "none", "unexplained", "unflagged"]


@dataclass(frozen=True, slots=True)
class Way:
    """A traversal: one picture with its frames side by side, and the scores of each frame."""

    file: str
    scores: Sequence[float]
    calibrated: Sequence[float]


@dataclass(frozen=True, slots=True)
class Edit:
    """One counterfactual of one image.

    Attributes:
        concept: counted from 0.
        file: its picture, relative to the folder.
        score: the detector's score of it, in the user's own units.
        calibrated: the same in [0, 1], 1 anomalous.
        valid: the detector no longer flags it.
        probabilities: what the concept classifier takes it for, one a concept; may be empty.
        way: how it came about, if that was recorded.
        refined: what a refinement changed, if there was one.
    """

    concept: int
    file: str
    score: float
    calibrated: float
    valid: bool
    probabilities: Sequence[float]
    way: Way | None
    refined: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One image that the detector was asked about.

    Attributes:
        number: its place in the list, counted from 1; a link names it.
        name: as the user knows it.
        score: in the user's own units.
        calibrated: the same in [0, 1], 1 anomalous.
        flagged: the detector calls it anomalous.
        file: its picture, relative to the folder; None if it was not explained.
        heatmap: a grey picture of where the detector looks, if there is one.
        edits: its counterfactuals.
    """

    number: int
    name: str
    score: float
    calibrated: float
    flagged: bool
    file: str | None
    heatmap: str | None
    edits: Sequence[Edit]

    @property
    def outcome(self) -> Outcome:
        """Whether the detector flags it and how many of its counterfactuals it accepts."""
        if not self.flagged:
            return "unflagged"
        if not self.edits:
            return "unexplained"
        accepted = sum(edit.valid for edit in self.edits)
        return "all" if accepted == len(self.edits) else "some" if accepted else "none"


@dataclass(frozen=True)
class Listing:
    """What `explanation.json` says.

    Attributes:
        folder: where it lies and its pictures with it.
        entries: every image that was read, in the order of the file.
        skipped: (path, reason) of the files that could not be read.
        threshold: in the user's own units.
        calibrated_threshold: the same in [0, 1].
        higher_is: what a high score means in the user's own units.
        concepts: K, the number of ways each anomaly is edited.
        targets: the α of a traversal's frames, from 1 to 0.
        detector, facts: what else is known of it.
    """

    folder: Path
    entries: Sequence[Entry]
    skipped: Sequence[tuple[str, str]]
    threshold: float
    calibrated_threshold: float
    higher_is: str
    concepts: int
    targets: Sequence[float]
    detector: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def explained(self) -> list[Entry]:
        """Images with a picture and counterfactuals, in the order of the file."""
        return [entry for entry in self.entries if entry.edits]

    @property
    def flagged(self) -> int:
        """How many images the detector calls anomalous."""
        return sum(entry.flagged for entry in self.entries)

    @property
    def accepted(self) -> float | None:
        """The share of counterfactuals that the detector accepts; None where there are none."""
        valid = [edit.valid for entry in self.entries for edit in entry.edits]
        return sum(valid) / len(valid) if valid else None


def most_anomalous_first(listing: Listing) -> list[Entry]:
    """The images by score, whichever direction of the user's own units is the bad one.

    Calibrated scores may be equal close to 1 where the user's own still differ.
    """
    sign = -1 if listing.higher_is == "normal" else 1
    return sorted(
        listing.entries, key=lambda entry: (-entry.calibrated, -sign * entry.score, entry.number)
    )


def read_listing(folder: Path) -> Listing:
    """Read `explanation.json` of an explanation folder, without any picture.

    Raises:
        UserError: it is missing, damaged, of another version, or names files elsewhere.
    """
    path = Path(folder) / "explanation.json"
    content = read_json(path)
    if content.get("format") != FORMAT or content.get("schema_version") != VERSION:
        raise UserError(
            f"{path} is not an explanation of format {VERSION}; explain the images again with "
            "this version of ifnormal."
        )
    try:
        return _listing(path.parent, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is not as this version of ifnormal writes it ({type(error).__name__}: "
            f"{reason}); restore it or explain the images again."
        ) from None


def _listing(folder: Path, content: Mapping[str, Any]) -> Listing:
    detector = dict(content["detector"])
    targets = [_number(value) for value in content.get("traversal_targets") or []]
    concepts = int(content["concepts"])
    threshold = _number(detector.pop("threshold"))
    higher = detector.pop("higher_is", "anomalous")
    if higher not in ("anomalous", "normal"):
        raise ValueError(f"higher_is is {higher!r}")
    return Listing(
        folder=folder,
        entries=list(_entries(content["images"], concepts, len(targets))),
        skipped=[(str(bad["path"]), str(bad["reason"])) for bad in content.get("skipped") or []],
        threshold=threshold,
        calibrated_threshold=_number(detector.pop("calibrated_threshold", threshold)),
        higher_is=higher,
        concepts=concepts,
        targets=targets,
        detector=detector,
        facts=dict(content.get("facts") or {}),
    )


def _entries(images: Sequence[Mapping[str, Any]], concepts: int, frames: int) -> Iterator[Entry]:
    for number, image in enumerate(images, start=1):
        edits = [_edit(edit, concepts, frames) for edit in image["counterfactuals"]]
        file = _optional_file(image["file"])
        if edits and file is None:
            raise ValueError(f"image {number} has counterfactuals but no picture")
        yield Entry(
            number=number,
            name=str(image["path"]),
            score=_number(image["score"]),
            calibrated=_number(image.get("calibrated_score", image["score"])),
            flagged=bool(image["flagged"]),
            file=file,
            heatmap=_optional_file(image.get("heatmap")),
            edits=edits,
        )


def _edit(edit: Mapping[str, Any], concepts: int, frames: int) -> Edit:
    concept = int(edit["concept"])
    if not 0 <= concept < concepts:
        raise ValueError(f"concept {concept} of {concepts}")
    refined = edit.get("refined")
    return Edit(
        concept=concept,
        file=_file(edit["file"]),
        score=_number(edit["score"]),
        calibrated=_number(edit.get("calibrated_score", edit["score"])),
        valid=bool(edit["valid"]),
        probabilities=tuple(_number(value) for value in edit.get("concept_probabilities") or ()),
        way=_way(edit.get("traversal"), frames),
        refined=dict(refined) if refined else None,
    )


def _way(traversal: Mapping[str, Any] | None, frames: int) -> Way | None:
    if not traversal or frames < 2:
        return None
    scores = tuple(_number(value) for value in traversal["scores"])
    calibrated = traversal.get("calibrated_scores")
    calibrated = scores if calibrated is None else tuple(_number(value) for value in calibrated)
    if len(scores) != frames or len(calibrated) != frames:
        raise ValueError(f"a traversal of {len(scores)} scores for {frames} targets")
    return Way(_file(traversal["file"]), scores, calibrated)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _optional_file(value: Any) -> str | None:
    return None if value is None else _file(value)


def _file(value: Any) -> str:
    """A file inside the folder: an edited explanation must not put others into the report."""
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value or ":" in value or not path.parts:
        raise ValueError(f"{value!r} is no file of the folder")
    return path.as_posix()
