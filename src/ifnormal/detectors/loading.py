"""A detector by its SPEC: a file, a folder that ifnormal wrote, or `package.module:attribute`."""

from __future__ import annotations

from pathlib import Path

from ifnormal.config import Preprocessing
from ifnormal.detectors.adapted import adapt
from ifnormal.detectors.adapters import ADAPTERS, AdapterOptions, Features
from ifnormal.detectors.detector import Detector
from ifnormal.detectors.score_model import HigherIs
from ifnormal.detectors.trained import TrainedDetector
from ifnormal.errors import UserError


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
    folder = Path(spec)
    if folder.is_dir():
        inner = folder if (folder / "detector.json").exists() else folder / "detector"
        return TrainedDetector.load(inner)
    options = AdapterOptions(trust, black_box or None, features)
    for adapter in ADAPTERS:
        if adapter.takes_spec(spec):
            model = adapter.load(spec, options)
            model.spec = spec
            return adapt(
                model,
                shape=shape,
                preprocessing=preprocessing,
                threshold_own=threshold,
                higher_is=higher_is,
            )
    forms = [adapter.spec for adapter in ADAPTERS if adapter.spec]
    raise UserError(
        f"{spec} is no detector that ifnormal knows; give {', '.join(forms)} or a folder that "
        "train-detector wrote."
    )
