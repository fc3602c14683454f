"""FitData: the calibrated detector and the images that an editor is fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.data.files.image_input import ImageInput, as_images, default_shape
from ifnormal.data.synthetic import MadeOutliers, made_outliers
from ifnormal.detectors.adapted.contract import check_contract
from ifnormal.detectors.adapted.detector import AdaptedDetector, adapt
from ifnormal.detectors.builtin.by_kind import config_of_kind, setup_for_kind
from ifnormal.detectors.builtin.kinds import KINDS
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import Detector, log_odds_of
from ifnormal.detectors.duck_typed import checked_detector
from ifnormal.detectors.loading import load_detector

_HELD_OUT, _MOST_HELD_OUT = 0.2, 2000
_CHECKED = 16
_LEAST_NORMAL = 20
_LEAST_SYNTHETIC, _MOST_SYNTHETIC = 1000, 8000
# Every one made is a query, whether it is flagged or not.
_MOST_QUERIED = 2000
_LEAST_FLAGGED = 20


@dataclass(frozen=True)
class FitData:
    """What `fit` takes, and how it came about.

    Attributes:
        detector: calibrated and frozen.
        normal: (N, C, H, W) uint8 normal images to train with.
        outliers: (M, C, H, W) uint8 images that the detector flags.
        facts: numbers worth saving; JSON-compatible.
        sources: (M,) of synthetic outliers, the normal images that they were made of.
        kinds: of synthetic outliers, the M names of their kinds of defects; () for others.
        weights: (M,) how often each outlier is drawn in training, up to a factor; None for all
            alike.
    """

    detector: Detector
    normal: Tensor
    outliers: Tensor
    facts: Mapping[str, Any] = field(default_factory=dict)
    sources: Tensor | None = None
    kinds: tuple[str, ...] = ()
    weights: Tensor | None = None


def as_detector(model: Any, images: ImageInput) -> Detector:
    """A detector of whatever the user has, for images of this kind.

    Args:
        model: a detector, a model that an adapter takes, or the SPEC of one.
        images: decide at which size it is explained; see `default_shape`.

    Raises:
        UserError: no adapter takes it, or a member of the detector is wrong.
    """
    detector = checked_detector(model)
    if detector is not None:
        return detector
    shape = default_shape(images)
    from_spec = isinstance(model, str | Path)
    adapted = load_detector(model, shape=shape) if from_spec else adapt(model, shape=shape)
    if isinstance(adapted, AdaptedDetector):  # it may take smaller images
        return adapted.at(default_shape(images, adapted.model.input_shape))
    return adapted


def fit_data_of(
    model: Any,
    normal: ImageInput,
    outliers: ImageInput | None,
    seed: int,
    false_alarm_rate: float | None = None,
) -> FitData:
    """`prepare_fit_data` of whatever the user has; see `as_detector` and `as_images`.

    The name of a built-in kind of detectors trains one on the normal images.
    """
    trains = isinstance(model, str) and model in KINDS
    detector = None if trains else as_detector(model, normal)
    shape = default_shape(normal) if detector is None else detector.shape
    images, _ = as_images(normal, shape)
    others = None if outliers is None else as_images(outliers, shape)[0]
    if detector is None:
        config = config_of_kind(model, false_alarm_rate)
        detector = train_detector(setup_for_kind(model, images, others, seed), config, seed)
    return prepare_fit_data(detector, images, others, seed, false_alarm_rate)


def prepare_fit_data(
    detector: Detector,
    normal: Tensor,
    outliers: Tensor | None,
    seed: int,
    false_alarm_rate: float | None = None,
) -> FitData:
    """Check an adapted detector, calibrate it on held-out normal images, and find outliers.

    A detector that is calibrated already, such as a built-in one, keeps its scores and threshold.
    The images that a black box is asked to score here are counted as `queries_before_fit`.

    Args:
        detector: any; one of `adapt` is checked against its contract first.
        normal: (N, C, H, W) uint8 normal images. Of those, a fifth is held out where the detector
            has to be calibrated.
        outliers: (M, C, H, W) uint8; None makes synthetic ones from the normal images.
        seed: decides what is held out and the synthetic outliers.
        false_alarm_rate: share of held-out normal images above the threshold; None leaves a
            threshold that the user or the model named, else takes 5 %.

    Raises:
        UserError: the detector breaks its contract, with numbers; or it flags none of the outliers.
    """
    if isinstance(detector, AdaptedDetector):
        asked = detector.model.scored
        prepared = _prepare_adapted(detector, normal, outliers, seed, false_alarm_rate)
        queries = detector.model.scored - asked
    else:
        prepared = _with_outliers(detector, normal, outliers, seed)
        queries = prepared.facts.get("synthetic_outliers", {}).get("made", 0)
    if not detector.is_black_box:
        return prepared
    return replace(prepared, facts={**prepared.facts, "queries_before_fit": queries})


def _prepare_adapted(
    detector: AdaptedDetector,
    normal: Tensor,
    outliers: Tensor | None,
    seed: int,
    false_alarm_rate: float | None,
) -> FitData:
    if detector.is_calibrated:
        return _with_outliers(detector, normal, outliers, seed)
    if len(normal) < _LEAST_NORMAL:
        raise UserError(
            f"A detector is calibrated on at least {_LEAST_NORMAL} normal images, these are "
            f"{len(normal)}; name a folder with more of them."
        )
    order = torch.randperm(len(normal), generator=torch.Generator().manual_seed(seed))
    count = min(max(_LEAST_NORMAL // 2, round(_HELD_OUT * len(normal))), _MOST_HELD_OUT)
    held_out = normal[order[:count]]
    facts = {"contract": check_contract(detector, held_out[:_CHECKED])}
    detector = detector.with_checks(**facts)
    scores = detector.raw_scores(held_out, outliers)
    calibrated = detector.calibrated_by(scores, false_alarm_rate)
    if outliers is not None:
        return FitData(calibrated.freeze(), normal, outliers, facts)
    made = _synthetic(detector, normal, seed)
    raw = detector.raw(made.images)
    is_flagged = _is_flagged(calibrated, calibrated.score_map(raw))
    # Again, now that it is known how far anomalous images score.
    scores = replace(scores, outliers=raw[is_flagged])
    calibrated = detector.calibrated_by(scores, false_alarm_rate).freeze()
    return _with_flagged(calibrated, normal, made, is_flagged, facts)


def _with_outliers(
    detector: Detector, normal: Tensor, outliers: Tensor | None, seed: int
) -> FitData:
    """With the outliers given, or else synthetic ones that the detector flags."""
    if outliers is not None:
        return FitData(detector, normal, outliers)
    made = _synthetic(detector, normal, seed)
    is_flagged = _is_flagged(detector, log_odds_of(detector, made.images))
    return _with_flagged(detector, normal, made, is_flagged, {})


def _with_flagged(
    detector: Detector,
    normal: Tensor,
    made: MadeOutliers,
    is_flagged: Tensor,
    facts: Mapping[str, Any],
) -> FitData:
    """With those of the synthetic outliers that the detector flags."""
    counts = {"made": len(made.images), "flagged": int(is_flagged.sum())}
    kinds = tuple(made.kinds[n] for n in is_flagged.nonzero().flatten().tolist())
    return FitData(
        detector,
        normal,
        made.images[is_flagged],
        {**facts, "synthetic_outliers": counts},
        made.sources[is_flagged],
        kinds,
    )


def _synthetic(detector: Detector, normal: Tensor, seed: int) -> MadeOutliers:
    most = _MOST_QUERIED if detector.is_black_box else _MOST_SYNTHETIC
    return made_outliers(normal, min(max(2 * len(normal), _LEAST_SYNTHETIC), most), seed)


def _is_flagged(detector: Detector, log_odds: Tensor) -> Tensor:
    """Which synthetic outliers (N,) the detector flags.

    The generator learns from what is to be made normal; an outlier the detector takes for normal
    already teaches nothing.
    """
    is_flagged = log_odds.sigmoid() > detector.threshold
    if is_flagged.sum() < _LEAST_FLAGGED:
        raise UserError(
            f"The detector flags {int(is_flagged.sum())} of {len(log_odds)} synthetic outliers, "
            "too few to learn from; give a folder of images that it flags as outliers, or lower "
            "the threshold."
        )
    return is_flagged
