"""`detector.json` of an adapted detector: what it says, and the hash of the model it names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ifnormal.common.errors import UserError
from ifnormal.common.storage import write_json
from ifnormal.detectors.adapted.detector import AdaptedDetector

FORMAT = "ifnormal.adapted-detector"


_VERSION = 1


def save_adapted(detector: AdaptedDetector, folder: Path) -> None:
    """Write `detector.json`: the SPEC, the hash of the model's file, and the calibration.

    The model itself stays where it is.
    """
    file = detector.model.file
    facts = {
        "format": FORMAT,
        "version": _VERSION,
        "adapter": detector.model.name,
        "spec": detector.model.spec,
        "file": None if file is None else file.resolve().as_posix(),
        "more_files": detector.model.more_files,
        "sha256": None if file is None else hash_of(file, detector.model.more_files),
        "black_box": detector.is_black_box,
        "features": detector.model.features,
        "higher_is": detector.higher_is,
        "shape": detector.shape,
        "preprocessing": asdict(detector.preprocessing),
        "score_map": asdict(detector.score_map) if detector.is_calibrated else None,
        "own_threshold": detector.own_threshold,
        "has_own_threshold": detector.has_own_threshold,
        "checks": detector.checks,
    }
    write_json(folder / "detector.json", facts)


def hash_of(path: Path, more_files: Sequence[str] = ()) -> str:
    """SHA-256 of a file and of others beside it, read in pieces.

    Raises:
        UserError: one of them is missing.
    """
    digest = hashlib.sha256()
    for part in (path, *(path.parent / name for name in more_files)):
        try:
            with part.open("rb") as file:
                while piece := file.read(2**20):
                    digest.update(piece)
        except FileNotFoundError:
            raise UserError(f"{part} is gone, which belongs to {path}; put it back.") from None
    return digest.hexdigest()
