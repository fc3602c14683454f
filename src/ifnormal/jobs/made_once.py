"""Detectors, judges, diffusion models and explainers: made the first time, loaded afterwards.

Each function takes the folder that holds the result, or will hold it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json, write_json
from ifnormal.config import BackboneConfig, DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.kinds import load_builtin
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import Detector
from ifnormal.detectors.fingerprint import detector_fingerprint
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.evaluation.judge.training import train_judge
from ifnormal.explainers.editor import Editor
from ifnormal.explainers.explainer import Explainer
from ifnormal.jobs.our_files import (
    DETECTOR,
    EXPLAINER,
    FITTED_TO,
    JUDGE,
    LOSSES,
    checkpoint_files,
    explainer_files,
    has_checkpoint,
    remove,
)

# Not the seed of a run: who trains a generator must not choose its judge.
JUDGE_SEED = 1_234_567
_BACKBONE = "model_index.json"
_T = TypeVar("_T")


def trained_detector(
    folder: Path, setup: AnomalySetup, config: DetectorConfig, seed: int
) -> BuiltinDetector:
    """The detector in `folder`, trained there with its losses if it does not exist yet."""

    def train() -> BuiltinDetector:
        detector = train_detector(setup, config, seed, folder / LOSSES)
        detector.save(folder)
        return detector

    return _made_once(folder / DETECTOR, train, load_builtin)


def trained_judge(
    folder: Path, setup: AnomalySetup, steps: int | None = None
) -> AttributeJudge | None:
    """The judge in `folder`, trained there if it does not exist yet; None without labelled images.

    Args:
        folder: of the judge.
        setup: holds the labelled images.
        steps: of its training; by default what suits the images.
    """
    if not has_labels(setup):
        return None

    def train() -> AttributeJudge:
        judge = train_judge(setup, JUDGE_SEED, steps)
        judge.save(folder)
        return judge

    return _made_once(folder / JUDGE, train, AttributeJudge.load)


def has_labels(setup: AnomalySetup) -> bool:
    """Whether a judge can be trained for these images, and can be asked about anomalies."""
    return setup.judge_images is not None and bool(setup.attributes)


def trained_backbone(folder: Path, setup: AnomalySetup, config: BackboneConfig, seed: int) -> Path:
    """The folder of a diffusion model of these images, trained there if it does not exist yet."""
    from ifnormal.explainers.diffusion.backbone_training import train_backbone
    from ifnormal.explainers.diffusion.training_material import material_of

    if not (folder / _BACKBONE).exists():
        train_backbone(material_of(setup), config, seed, folder, resume=True)
    return folder


def fitted(
    folder: Path,
    make: Callable[[], Editor],
    seed: int,
    setup: AnomalySetup,
    detector: Detector,
) -> Explainer:
    """The explainer in `folder`; if there is none for this detector, it is fitted there.

    A fit that was interrupted goes on from its checkpoint, if that is of these images.

    Args:
        folder: of the explainer.
        make: makes an editor to fit.
        seed: of the fit.
        setup: holds the training images.
        detector: what is explained.
    """
    identity = json.loads(json.dumps(detector_fingerprint(detector), default=str))
    path = folder / FITTED_TO
    if path.exists() and read_json(path) != identity:
        remove(folder, explainer_files())
    if (folder / EXPLAINER).exists():
        return Explainer.load(folder, detector)
    write_json(path, identity)
    explainer, resume = Explainer(detector, editor=make()), has_checkpoint(folder)
    try:
        fit_on(setup, explainer, seed, folder, resume)
    except UserError:
        if not resume:
            raise
        remove(folder, explainer_files())  # the checkpoint is of other images or of another version
        write_json(path, identity)
        explainer = fit_on(setup, Explainer(detector, editor=make()), seed, folder)
    explainer.save(folder)
    remove(folder, checkpoint_files())  # as large as the explainer, and no longer of use
    return explainer


def fit_on(
    setup: AnomalySetup, explainer: Explainer, seed: int, folder: Path, resume: bool = False
) -> Explainer:
    """Fit an explainer to the training images of a setup; the arguments are those of its `fit`."""
    # Synthetic outliers are made anew, so that it is known which image each was made of.
    synthetic = setup.facts.get("outlier_source") == "synthetic"
    outliers = None if synthetic else setup.outliers
    return explainer.fit(setup.train_normal, outliers, seed, folder, resume)


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn what goes wrong with an edited file, or one of another version, into a sentence.

    Raises:
        UserError: names the file.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is not as this version of ifnormal writes it "
            f"({type(error).__name__}: {reason}); restore it or make the run anew."
        ) from None


def _made_once(document: Path, make: Callable[[], _T], load: Callable[[Path], _T]) -> _T:
    """What lies beside `document`, which is written last; made if it is not there."""
    if not document.exists():
        return make()
    with understood(document):
        return load(document.parent)
