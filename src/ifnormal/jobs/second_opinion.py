"""Independent detectors of a user's own images: chosen, trained on the same normal images, saved.

```
OUT/second-opinion/opinion.json     what they say of held-out images; written last
OUT/second-opinion/KIND/            each detector
```
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json, write_json
from ifnormal.config import DetectorConfig
from ifnormal.data.files.finding import find_images
from ifnormal.data.files.reading import read_good_images
from ifnormal.data.sampling import generator
from ifnormal.data.setups.given_images import HELD_OUT, setup_of_images
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.synthetic import synthetic_outliers
from ifnormal.detectors.builtin.by_kind import config_of_kind
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.kinds import KINDS, load_builtin
from ifnormal.detectors.builtin.training import train_detectors
from ifnormal.detectors.detector import Detector
from ifnormal.evaluation.independent_detectors import IndependentDetectors
from ifnormal.explainers.explainer import Explainer
from ifnormal.explainers.loading import explainer_folder
from ifnormal.explanation.entries import SecondDetector
from ifnormal.jobs.explain_options import ExplainOptions
from ifnormal.jobs.made_once import understood
from ifnormal.jobs.our_files import OPINION, SECOND_OPINION
from ifnormal.jobs.tell import Tell

# The first two that are not of the explained detector's kind: a Gaussian of patches at each place,
# one of whole images, the nearest of all patches. None takes more than seconds of training.
PREFERRED = ("padim", "mvg", "patchcore")
ASKED = 2
MOST_NORMAL = 500
SMALL, SIDE_OF_SMALL = 48, 96  # pixels
MOST_ASKED = 256  # anomalies of a run, whose figures do not get better by more of them
_FORMAT, _VERSION = "ifnormal.second-opinion", 1


def chosen_kinds(detector: Detector) -> tuple[str, ...]:
    """The kinds of the independent detectors of a detector, by `PREFERRED`."""
    own = detector.config.objective if isinstance(detector, BuiltinDetector) else None
    return tuple(kind for kind in PREFERRED if kind in KINDS and kind != own)[:ASKED]


def config_for(kind: str, shape: tuple[int, int, int]) -> DetectorConfig:
    """How an independent detector of (C, H, W) images is trained.

    Small images gain nothing from a large side, which takes five times as long.
    """
    config = config_of_kind(kind)
    small = max(shape[1:]) <= SMALL
    return replace(config, features_side=SIDE_OF_SMALL) if small else config


def independent_detectors(
    detector: Detector, setup: AnomalySetup, seed: int
) -> IndependentDetectors:
    """Train the independent detectors of a detector.

    At most 500 normal images are used, 70 % of them for training; each detector is tried on
    held-out normal images and on synthetic outliers.

    Args:
        detector: the one that is explained; decides their kinds.
        setup: the normal images.
        seed: makes the training repeatable.

    Raises:
        UserError: nothing can be learned from the images.
    """
    setup, kinds = _few(setup), chosen_kinds(detector)
    trained = train_detectors(setup, [config_for(kind, setup.shape) for kind in kinds], seed)
    normal = setup.test_normal
    return IndependentDetectors.tried_on(
        dict(zip(kinds, trained, strict=True)),
        normal,
        synthetic_outliers(normal, len(normal), seed),
    )


def second_opinion_for(
    options: ExplainOptions, out: Path, explainer: Explainer, tell: Tell
) -> IndependentDetectors | None:
    """Whom to ask about a user's own images: those saved beside the explainer, or new ones.

    Args:
        options: name the explainer, or the normal images to train with.
        out: the detectors go to `out/second-opinion`, where the explainer was fitted there too.
        explainer: fitted.
        tell: takes the reason where nobody can be asked.
    """
    config = options.explain
    if config.no_second_opinion:
        return None
    fitted_before = config.explainer is not None
    beside = explainer_folder(config.explainer).parent if config.explainer is not None else out
    folder = beside / SECOND_OPINION
    try:
        if (folder / OPINION).exists():
            return _fitting(load_independent(folder), explainer.detector, folder)
        if fitted_before:
            raise UserError(
                f"{folder} holds no independent detectors; explain with --normal to have some."
            )
        normal = _normal_images(config.normal, explainer.detector.shape)
        found = independent_detectors(
            explainer.detector, setup_of_images(normal, config.seed, synthetic=0), config.seed
        )
    except UserError as error:
        tell(f"There is no second opinion. {error}")
        return None
    save_independent(found, folder)
    return found


def independent_of_run(
    folder: Path, detector: Detector, setup: AnomalySetup, seed: int
) -> IndependentDetectors:
    """The independent detectors in `folder`, trained there if there are none yet.

    Raises:
        UserError: see `independent_detectors` and `load_independent`.
    """
    if (folder / OPINION).exists():
        return load_independent(folder)
    found = independent_detectors(detector, setup, seed)
    save_independent(found, folder)
    return found


def save_independent(independent: IndependentDetectors, folder: Path) -> None:
    """Write built-in detectors, and what they say of held-out images, into a folder."""
    for name, detector in independent.detectors.items():
        detector.save(folder / name)
    facts = {
        "format": _FORMAT,
        "version": _VERSION,
        "detectors": [asdict(one) for one in independent.facts],
        "normal_accepted_by": list(independent.normal_accepted_by),
    }
    write_json(folder / OPINION, facts)


def load_independent(folder: Path) -> IndependentDetectors:
    """Read what `save_independent` wrote.

    Raises:
        UserError: a file is missing or damaged.
    """
    with understood(folder / OPINION):
        saved: dict[str, Any] = read_json(folder / OPINION)
        if (saved["format"], saved["version"]) != (_FORMAT, _VERSION):
            raise ValueError("another format")
        facts = tuple(SecondDetector(**one) for one in saved["detectors"])
        detectors = {one.detector: load_builtin(folder / one.detector) for one in facts}
        return IndependentDetectors(detectors, facts, tuple(saved["normal_accepted_by"]))


def _normal_images(folder: Path | None, shape: tuple[int, int, int]) -> Tensor:
    assert folder is not None
    files = find_images([folder])
    return read_good_images([files[row] for row in _rows(len(files), MOST_NORMAL)], shape).images


def _few(setup: AnomalySetup) -> AnomalySetup:
    held_out = round(HELD_OUT * MOST_NORMAL)

    def some(images: Tensor, most: int) -> Tensor:
        return images[_rows(len(images), most)]

    return replace(
        setup,
        train_normal=some(setup.train_normal, MOST_NORMAL - 2 * held_out),
        validation_normal=some(setup.validation_normal, held_out),
        validation_outliers=some(setup.validation_outliers, held_out),
        test_normal=some(setup.test_normal, held_out),
    )


def _rows(count: int, most: int) -> list[int]:
    """At most so many of `count` rows, the same ones every time."""
    order = torch.randperm(count, generator=generator(0, "images of a second opinion"))
    return sorted(order[:most].tolist())


def _fitting(
    independent: IndependentDetectors, detector: Detector, folder: Path
) -> IndependentDetectors:
    shapes = {tuple(one.shape) for one in independent.detectors.values()}
    if shapes != {tuple(detector.shape)}:
        raise UserError(f"The detectors in {folder} take other images than the explained one.")
    return independent
