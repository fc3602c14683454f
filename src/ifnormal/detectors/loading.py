"""Detectors by their SPEC: a file, a folder that ifnormal wrote, or `package.module:attribute`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.config import Preprocessing
from ifnormal.detectors.adapted.adapters import (
    AdapterOptions,
    Features,
    adapter_of_spec,
    features_name,
)
from ifnormal.detectors.adapted.detector import FORMAT, AdaptedDetector, adapt
from ifnormal.detectors.adapted.loading import load_adapted
from ifnormal.detectors.builtin.kinds import KINDS, load_builtin
from ifnormal.detectors.detector import Detector
from ifnormal.detectors.duck_typed import checked_detector
from ifnormal.explanation.entries import HigherIs


def load_detector(
    spec: str | Path,
    *,
    trust: bool = False,
    shape: tuple[int, int, int] | None = None,
    preprocessing: Preprocessing | None = None,
    threshold: float | None = None,
    higher_is: HigherIs | None = None,
    black_box: bool = False,
    features: Features | None = None,
) -> Detector:
    """Load the detector that a SPEC names; a user's model is not calibrated yet.

    Args:
        spec: see `ifnormal detectors`.
        trust: a file that runs code when it is loaded may do so.
        shape, preprocessing, higher_is, features: see `adapt`.
        threshold: the decision threshold, in the model's own units.
        black_box: explain it without its gradient.

    Raises:
        UserError: the SPEC has no known form, or what it names cannot be loaded.
    """
    spec = str(spec)
    if Path(spec).is_dir():
        return _from_folder(Path(spec), trust)
    if spec in KINDS:
        raise UserError(
            f"{spec} is a kind of detector that is trained first; name the folder of one, or train "
            f"one with ifnormal explain --detector {spec} --normal FOLDER."
        )
    model = adapter_of_spec(spec).load(spec, AdapterOptions(trust, black_box or None, features))
    model.spec, model.features = spec, features_name(features)
    return adapt(
        model,
        shape=shape,
        preprocessing=preprocessing,
        threshold_own=threshold,
        higher_is=higher_is,
    )


def saved_detector(folder: Path, given: Any = None, trust: bool = False) -> Detector:
    """The detector of a saved explainer.

    Args:
        folder: `detector/` of the explainer; it need not exist where a detector is given.
        given: the detector, its model or its SPEC; None loads what the folder describes.
        trust: see `load_detector`.

    Raises:
        UserError: see `load_detector` and `checked_detector`.
    """
    described = (folder / "detector.json").exists()
    if isinstance(given, AdaptedDetector) and not given.is_calibrated and described:
        return load_adapted(folder, trust=trust, model=given.model)
    if (detector := checked_detector(given)) is not None:
        return detector
    if given is None or not described:
        return load_detector(folder if given is None else given, trust=trust)
    if isinstance(given, str | Path) and Path(given).is_dir():
        return load_detector(given, trust=trust)
    return load_adapted(folder, trust=trust, model=given)


def _from_folder(folder: Path, trust: bool) -> Detector:
    """A saved detector, in the folder itself or in its subfolder `detector/`."""
    inner = folder if (folder / "detector.json").exists() else folder / "detector"
    if not (inner / "detector.json").exists():
        raise UserError(
            f"{folder} holds no detector; name a folder that train-detector wrote, or a model file."
        )
    if read_json(inner / "detector.json").get("format") == FORMAT:
        return load_adapted(inner, trust=trust)
    return load_builtin(inner)
