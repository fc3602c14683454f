"""A detector by its SPEC: a file, a folder that ifnormal wrote, or `package.module:attribute`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.config import Preprocessing, preprocessing_config
from ifnormal.detectors.adapted.adapters import (
    FUNCTION,
    AdapterOptions,
    Features,
    adapter_of,
    adapter_of_spec,
    named,
)
from ifnormal.detectors.adapted.detector import AdaptedDetector, adapt
from ifnormal.detectors.adapted.saving import _VERSION, FORMAT, hash_of
from ifnormal.detectors.adapted.score_map import ScoreMap
from ifnormal.detectors.adapted.score_model import HigherIs, ScoreModel
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.detector import Detector, is_detector


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
    """Load what a SPEC names; a user's own model is not calibrated yet.

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
    model = adapter_of_spec(spec).load(spec, AdapterOptions(trust, black_box or None, features))
    model.spec, model.features = spec, named(features)
    return adapt(
        model,
        shape=shape,
        preprocessing=preprocessing,
        threshold_own=threshold,
        higher_is=higher_is,
    )


def saved_detector(folder: Path, given: Any = None, trust: bool = False) -> Detector:
    """The detector that an explainer was saved with: as given, or as its folder describes it.

    Args:
        folder: `detector/` of the explainer; it need not exist where a detector is given.
        given: the detector, or the model or SPEC behind it; None finds it by the folder.
        trust: see `load_detector`.

    Raises:
        UserError: see `load_detector`.
    """
    described = (folder / "detector.json").exists()
    if isinstance(given, AdaptedDetector) and not given.is_calibrated and described:
        return load_adapted(folder, trust=trust, model=given.model)
    if is_detector(given):
        detector: Detector = given
        return detector
    if given is None or not described:
        return load_detector(folder if given is None else given, trust=trust)
    if isinstance(given, str | Path) and Path(given).is_dir():
        return load_detector(given, trust=trust)
    return load_adapted(folder, trust=trust, model=given)


def _from_folder(folder: Path, trust: bool) -> Detector:
    """A detector that ifnormal wrote, in the folder or in `detector/` of a run."""
    inner = folder if (folder / "detector.json").exists() else folder / "detector"
    if not (inner / "detector.json").exists():
        raise UserError(
            f"{folder} holds no detector; name a folder that train-detector wrote, or a model file."
        )
    if read_json(inner / "detector.json").get("format") == FORMAT:
        return load_adapted(inner, trust=trust)
    return TrainedDetector.load(inner)


def load_adapted(
    folder: Path, *, trust: bool = False, model: Any = None, features: Features | None = None
) -> AdaptedDetector:
    """Read what `save_adapted` wrote, and the model that it names.

    Args:
        folder: with a `detector.json`.
        trust: a file that runs code when it is loaded may do so.
        model: the model, where it was a Python object without a SPEC; or the SPEC of the same one
            in another place.
        features: the function of features, where there was one.

    Raises:
        UserError: the folder or the model is missing, changed, or not trusted.
    """
    facts = read_json(folder / "detector.json")
    if facts.get("format") != FORMAT or facts.get("version") != _VERSION:
        raise UserError(f"{folder}/detector.json is no adapted detector of format 1; wrap it anew.")
    try:
        found = _find(facts, folder, trust, model, features)
        found.higher_is = facts["higher_is"]
        channels, height, width = facts["shape"]
        map_ = facts["score_map"]
        detector = AdaptedDetector(
            found,
            (channels, height, width),
            preprocessing_config(facts["preprocessing"]),
            None if map_ is None else ScoreMap(**map_),
            facts["own_threshold"] if map_ is not None or facts["has_own_threshold"] else None,
        )
        detector.has_own_threshold = bool(facts["has_own_threshold"])
        detector.checks = dict(facts["checks"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}/detector.json is damaged ({type(error).__name__}: {error}); wrap the "
            "detector anew."
        ) from None
    return detector


def _find(
    facts: dict[str, Any], folder: Path, trust: bool, model: Any, features: Features | None
) -> ScoreModel:
    if isinstance(model, ScoreModel):
        return model
    typed = isinstance(model, str | Path)
    if typed:
        file = str(model) if Path(model).is_file() else None
        facts, model = {**facts, "spec": str(model), "file": file}, None
    if facts["features"] == FUNCTION and not callable(features):
        raise UserError(
            f"The detector of {folder} took its features from a function; give features again."
        )
    options = AdapterOptions(trust, bool(facts["black_box"]) or None, features or facts["features"])
    if model is not None:
        found = adapter_of(model).wrap(model, options)
        found.features = named(options.features)
        return found
    spec = facts["spec"]
    if not spec:
        raise UserError(
            f"The detector of {folder} was a Python object, the {facts['adapter']}; give it again "
            "beside the folder, or wrap it as package.module:attribute."
        )
    if facts["file"] is None:
        if not (typed or trust):  # a folder of somebody else's could name any code there is
            raise UserError(
                f"The detector of {folder} is the Python code {spec}, and importing it runs it; "
                f"name it as the detector ({spec}, --detector), or allow it (trust=True, --trust)."
            )
        found = adapter_of_spec(spec).load(spec, options)
    else:
        path = _present(facts, folder)
        digest = hash_of(path, facts["more_files"])
        if digest != facts["sha256"]:
            raise UserError(
                f"{path} has changed since it was wrapped (its checksum is {digest[:12]}, not "
                f"{str(facts['sha256'])[:12]}); restore it, or fit an explainer to the new one."
            )
        found = adapter_of_spec(str(path)).load(str(path), options)
    found.spec, found.features = spec, named(options.features)
    return found


def _present(facts: dict[str, Any], folder: Path) -> Path:
    """The model's file: where it was, as it was typed, or beside `detector.json`."""
    places = [Path(facts["file"]), Path(facts["spec"]), folder / Path(facts["file"]).name]
    for path in places:
        if path.is_file():
            return path
    raise UserError(
        f"The model {facts['spec']} of {folder} is gone; put it back to {facts['file']} or into "
        "that folder."
    )
