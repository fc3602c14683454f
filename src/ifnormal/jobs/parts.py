"""An explanation on its way: finished parts on disk, and the job that they belong to.

```
parts/job.json            what is explained, by what, with which options
parts/part-000003.json    entries of 64 images, written when their pictures are there
```

A part counts only if it belongs to the job and its pictures are, byte for byte, those it was
written with. So an explanation may be broken off at any moment and go on later, here or elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.common.storage import HALF_WRITTEN, read_json, write_atomic, write_json
from ifnormal.detectors.fingerprint import same_scores
from ifnormal.explanation.document import (
    DOCUMENT,
    FORMAT,
    entry_json,
)
from ifnormal.explanation.entries import ExplainedImage, Head, SkippedImage
from ifnormal.explanation.parsing import parse_image, parse_skipped
from ifnormal.explanation.pictures import pictures_of
from ifnormal.jobs.our_files import JOB, PARTS, REPORT, REPORTED, find, remove

PART_SIZE = 64
_VERSION = 1
_IN_WORDS = {
    "files": "other images, or some that have changed since",
    "explainer": "another explainer",
    "detector": "another detector or threshold",
    "facts": "other options",
}


@dataclass(frozen=True)
class Part:
    """The entries of up to `PART_SIZE` files."""

    images: Sequence[ExplainedImage]
    skipped: Sequence[SkippedImage]


@dataclass(frozen=True)
class Job:
    """What decides how an explanation turns out.

    Attributes:
        options: by name.
        files: number and digest of the list of files, with their sizes and times.
        explainer: digest of its weights.
        detector: what tells it from another.
        probe: its scores of a few fixed pictures; may differ in the last digits.
        facts: more that counts, such as a refinement.
    """

    options: Mapping[str, Any]
    files: Mapping[str, Any]
    explainer: str
    detector: Mapping[str, Any]
    probe: Sequence[float]
    facts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Names the job in its parts; the probe is left out, as it may differ in the last digit."""
        counted = {key: value for key, value in asdict(self).items() if key != "probe"}
        return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def digest_files(files: Sequence[Path]) -> dict[str, Any]:
    """Number and digest of files by path, size and time; a missing file counts as such."""
    digest = hashlib.sha256()
    for file in files:
        try:
            found = Path(file).stat()
            facts = f"{found.st_size} {found.st_mtime_ns}"
        except (OSError, ValueError):
            facts = "missing"
        digest.update(f"{file!s}\0{facts}\n".encode(errors="surrogateescape"))
    return {"count": len(files), "sha256": digest.hexdigest()}


def begin(folder: Path, job: Job, fresh: bool, alone: bool) -> None:
    """Take up the job in `folder`, or begin it there.

    Args:
        folder: where the explanation goes.
        job: what is to be done.
        fresh: whatever explanation is there goes away.
        alone: nobody else works on the job, so that half-written files are of the dead.

    Raises:
        UserError: the folder holds another explanation, or somebody else's files of our names.
    """
    _require_ours(folder)
    saved = folder / PARTS / JOB
    if saved.exists() and not fresh:
        _require_same(folder, job)
        for path in find(folder, REPORTED) if alone else ():
            if HALF_WRITTEN.fullmatch(path.name):
                path.unlink(missing_ok=True)
        return
    if (folder / DOCUMENT).exists() and not fresh:
        raise UserError(
            f"{folder} already holds an explanation; name another folder with --out, or give "
            "--fresh to begin anew."
        )
    if fresh:
        clear(folder)
    value = {"format": f"{FORMAT}-job", "version": _VERSION, **asdict(job)}
    write_json(saved, value)


def clear(folder: Path) -> None:
    """Remove an explanation, finished or not, and nothing else."""
    remove(folder, REPORTED)


def write_part(folder: Path, job: Job, number: int, part: Part) -> None:
    """Write a part whose pictures are in place."""
    value = {
        "format": f"{FORMAT}-part",
        "job": job.digest,
        "pictures": _digest_pictures(folder, part),
        "images": [entry_json(image) for image in part.images],
        "skipped": [entry_json(image) for image in part.skipped],
    }
    write_atomic(_part(folder, number), json.dumps(value, allow_nan=False))


def read_part(folder: Path, job: Job, head: Head, number: int) -> Part | None:
    """A part of this job; None if there is none or it cannot be used."""
    read = _read_part(folder, job, head, number)
    return None if read is None else read[0]


def is_whole(folder: Path, job: Job, head: Head, number: int) -> bool:
    """Whether a part can be used and its pictures are as it says."""
    read = _read_part(folder, job, head, number)
    return read is not None and read[1] == _digest_pictures(folder, read[0])


def has_part(folder: Path, number: int) -> bool:
    """Whether somebody finished a part of this number."""
    return _part(folder, number).exists()


def _read_part(folder: Path, job: Job, head: Head, number: int) -> tuple[Part, Any] | None:
    """A usable part of this job, and the digest that its pictures had."""
    try:
        value = read_json(_part(folder, number))
        if value.get("format") != f"{FORMAT}-part" or value.get("job") != job.digest:
            return None
        part = Part(
            [parse_image(entry, head) for entry in value["images"]],
            [parse_skipped(entry) for entry in value["skipped"]],
        )
    except (UserError, ValueError, KeyError, TypeError):
        return None
    return part, value.get("pictures")


def _part(folder: Path, number: int) -> Path:
    return folder / PARTS / f"part-{number:06d}.json"


def _digest_pictures(folder: Path, part: Part) -> str | None:
    digest = hashlib.sha256()
    try:
        for image in part.images:
            for file in pictures_of(image):
                digest.update(hashlib.sha256((folder / file).read_bytes()).digest())
    except OSError:
        return None
    return digest.hexdigest()


def _require_same(folder: Path, job: Job) -> None:
    """Raise a UserError that says what differs from the job that was begun in the folder."""
    saved = read_json(folder / PARTS / JOB)
    now = json.loads(json.dumps(asdict(job)))
    changed = next((k for k in now if k not in ("probe", "options") and saved.get(k) != now[k]), "")
    words = _IN_WORDS.get(changed, "")
    if not words and not same_scores(saved.get("probe"), now["probe"]):
        words = "a detector that scores differently"
    if not words and saved.get("options") != now["options"]:
        before, after = saved.get("options"), now["options"]
        before = before if isinstance(before, dict) else {}
        name = next((k for k in after if before.get(k) != after[k]), "options")
        words = f"{name} {before.get(name)}, not {after.get(name)}"
    if words:
        raise UserError(
            f"The explanation in {folder} was begun with {words}; name another folder with --out, "
            "or give --fresh to begin anew."
        )


def _require_ours(folder: Path) -> None:
    """Raise a UserError where files of our names are of no explanation."""
    for name, form in ((f"{PARTS}/{JOB}", f"{FORMAT}-job"), (DOCUMENT, FORMAT)):
        path = folder / name
        if path.exists() and _format(path) != form:
            raise UserError(
                f"{folder} already holds {name}, which ifnormal did not write; name another folder "
                "with --out."
            )
    ours = (folder / PARTS / JOB).exists() or (folder / DOCUMENT).exists()
    if not ours and (folder / REPORT).exists():
        raise UserError(
            f"{folder} already holds {REPORT}, which is of no explanation there; name another "
            "folder with --out."
        )


def _format(path: Path) -> str | None:
    """What a JSON file of ours says that it is, from its beginning: it may be large."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            found = re.match(r'\s*\{\s*"format":\s*"([\w.-]+)"', file.read(200))
    except OSError:
        return None
    return found[1] if found else None
