"""An adapted detector by its folder: `detector.json` and the model that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json
from ifnormal.config import preprocessing_config
from ifnormal.detectors.adapted.adapters import (
    FUNCTION,
    AdapterOptions,
    Features,
    adapter_of,
    adapter_of_spec,
    features_name,
)
from ifnormal.detectors.adapted.detector import FORMAT, VERSION, AdaptedDetector
from ifnormal.detectors.adapted.score_map import ScoreMap
from ifnormal.detectors.adapted.score_model import ScoreModel
from ifnormal.detectors.fingerprint import file_digest


def load_adapted(
    folder: Path, *, trust: bool = False, model: Any = None, features: Features | None = None
) -> AdaptedDetector:
    """Read what `AdaptedDetector.save` wrote, and the model that it names.

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
    if facts.get("format") != FORMAT or facts.get("version") != VERSION:
        raise UserError(f"{folder}/detector.json is no adapted detector of format 1; wrap it anew.")
    try:
        found = _load_model(facts, folder, trust, model, features)
        channels, height, width = facts["shape"]
        map_ = facts["score_map"]
        is_known = map_ is not None or facts["has_own_threshold"]
        return AdaptedDetector(
            found,
            (channels, height, width),
            preprocessing_config(facts["preprocessing"]),
            None if map_ is None else ScoreMap(**map_),
            facts["own_threshold"] if is_known else None,
            has_own_threshold=bool(facts["has_own_threshold"]),
            higher_is=facts["higher_is"],
            checks=facts["checks"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}/detector.json is damaged ({type(error).__name__}: {error}); wrap the "
            "detector anew."
        ) from None


def _load_model(
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
        found.features = features_name(options.features)
        return found
    spec = facts["spec"]
    if not spec:
        raise UserError(
            f"The detector of {folder} was a Python object, the {facts['adapter']}; give it again "
            "beside the folder, or wrap it as package.module:attribute."
        )
    if facts["file"] is None:
        if not (typed or trust):  # a stranger's folder could name any code
            raise UserError(
                f"The detector of {folder} is the Python code {spec}, and importing it runs it; "
                f"name it as the detector ({spec}, --detector), or allow it (trust=True, --trust)."
            )
        found = adapter_of_spec(spec).load(spec, options)
    else:
        path = _model_file(facts, folder)
        digest = file_digest(path, facts["more_files"])
        if digest != facts["sha256"]:
            raise UserError(
                f"{path} has changed since it was wrapped (its checksum is {digest[:12]}, not "
                f"{str(facts['sha256'])[:12]}); restore it, or fit an explainer to the new one."
            )
        found = adapter_of_spec(str(path)).load(str(path), options)
    found.spec, found.features = spec, features_name(options.features)
    return found


def _model_file(facts: dict[str, Any], folder: Path) -> Path:
    """The model's file: in its old place, at the SPEC, or beside `detector.json`."""
    places = [Path(facts["file"]), Path(facts["spec"]), folder / Path(facts["file"]).name]
    for path in places:
        if path.is_file():
            return path
    raise UserError(
        f"The model {facts['spec']} of {folder} is gone; put it back to {facts['file']} or into "
        "that folder."
    )
