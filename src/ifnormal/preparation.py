"""Preparation: from a user's detector and normal images to what the generator is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.data.given import GivenImages, default_shape
from ifnormal.data.synthetic import synthetic_pairs
from ifnormal.detectors.adapted import AdaptedDetector, adapt
from ifnormal.detectors.contract import check_contract
from ifnormal.detectors.detector import Detector, in_batches, is_detector
from ifnormal.detectors.loading import load_detector
from ifnormal.errors import UserError

_HELD_OUT, _MOST_HELD_OUT = 0.2, 2000
_CHECKED = 16
_LEAST_NORMAL = 20
_LEAST_SYNTHETIC, _MOST_SYNTHETIC = 1000, 8000
_LEAST_FLAGGED = 20


@dataclass(frozen=True)
class Prepared:
    """What `fit` takes, and how it came about.

    Attributes:
        detector: calibrated and frozen.
        normal: (N, C, H, W) uint8 normal images to train with.
        outliers: (M, C, H, W) uint8 images that the detector flags.
        facts: numbers worth saving; JSON-compatible.
        sources: (M,) of synthetic outliers, the normal images that they were made of.
    """

    detector: Detector
    normal: Tensor
    outliers: Tensor
    facts: Mapping[str, Any] = field(default_factory=dict)
    sources: Tensor | None = None


def as_detector(model: Any, images: GivenImages) -> Detector:
    """A detector of whatever the user has, for images of this kind.

    Args:
        model: a detector, a model that an adapter takes, or the SPEC of one.
        images: decide at which size it is explained; see `default_shape`.

    Raises:
        UserError: no adapter takes it.
    """
    if is_detector(model):
        detector: Detector = model
        return detector
    shape = default_shape(images)
    from_spec = isinstance(model, str | Path)
    adapted = load_detector(model, shape=shape) if from_spec else adapt(model, shape=shape)
    if isinstance(adapted, AdaptedDetector):  # it may take smaller images
        return adapted.at(default_shape(images, adapted.model.input_shape))
    return adapted


def prepare(
    detector: Detector,
    normal: Tensor,
    outliers: Tensor | None,
    seed: int,
    false_alarm_rate: float | None = None,
) -> Prepared:
    """Check an adapted detector, calibrate it on held-out normal images, and find outliers.

    A detector that is calibrated already, such as a built-in one, keeps its scores and threshold.

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
    facts: dict[str, Any] = {}
    sources: Tensor | None = None
    if not isinstance(detector, AdaptedDetector) or detector.is_calibrated:
        if outliers is None:
            outliers, sources, facts["synthetic_outliers"] = _flagged(detector, normal, seed)
        return Prepared(detector, normal, outliers, facts, sources)
    if len(normal) < _LEAST_NORMAL:
        raise UserError(
            f"A detector is calibrated on at least {_LEAST_NORMAL} normal images, these are "
            f"{len(normal)}; name a folder with more of them."
        )
    order = torch.randperm(len(normal), generator=torch.Generator().manual_seed(seed))
    count = min(max(_LEAST_NORMAL // 2, round(_HELD_OUT * len(normal))), _MOST_HELD_OUT)
    held_out = normal[order[:count]]
    facts["contract"] = check_contract(detector, held_out[:_CHECKED])
    calibrated = detector.calibrated(held_out, outliers, false_alarm_rate)
    if outliers is None:
        outliers, sources, facts["synthetic_outliers"] = _flagged(calibrated, normal, seed)
        # Again, now that it is known how far anomalous images score.
        calibrated = detector.calibrated(held_out, outliers, false_alarm_rate)
    return Prepared(calibrated.freeze(), normal, outliers, facts, sources)


def _flagged(
    detector: Detector, normal: Tensor, seed: int
) -> tuple[Tensor, Tensor, dict[str, int]]:
    """Synthetic outliers that the detector flags, their sources, and how many of how many.

    The generator learns from what is to be made normal; an outlier the detector takes for normal
    already teaches nothing.
    """
    count = min(max(2 * len(normal), _LEAST_SYNTHETIC), _MOST_SYNTHETIC)
    made, sources = synthetic_pairs(normal, count, seed)
    is_flagged = in_batches(detector, made) > detector.threshold
    flagged = made[is_flagged]
    if len(flagged) < _LEAST_FLAGGED:
        raise UserError(
            f"The detector flags {len(flagged)} of {count} synthetic outliers, too few to learn "
            "from; give a folder of images that it flags as outliers, or lower the threshold."
        )
    return flagged, sources[is_flagged], {"made": count, "flagged": len(flagged)}
