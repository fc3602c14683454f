"""The detector that a user names, at the size at which images are edited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ifnormal.config import ExplainConfig
from ifnormal.data.files.image_input import Shape, default_shape
from ifnormal.detectors.adapted.detector import AdaptedDetector
from ifnormal.detectors.adapted.expected import compare_with_expected
from ifnormal.detectors.detector import Detector
from ifnormal.detectors.loading import load_detector
from ifnormal.jobs.explain_options import ExplainOptions


def users_detector(
    options: ExplainOptions, normal: Sequence[Path], files: Sequence[Path]
) -> Detector:
    """Load the detector that the options name; it is calibrated later, by the fit.

    Args:
        options: name the detector and say how it is used.
        normal: files of normal images; the first one tells the size, if the options do not.
        files: images to be explained. Like normal ones, they may have expected scores.

    Raises:
        UserError: the detector cannot be used, does not give the expected scores, or is calibrated
            already and the options ask for something else.
    """
    config, model = options.explain, options.explain.detector
    assert model is not None
    detector = load_detector(
        model,
        trust=config.trust,
        shape=edited_shape(config, normal),
        preprocessing=options.preprocessing,
        threshold=config.threshold,
        higher_is=None if config.higher_is == "auto" else config.higher_is,
        black_box=config.black_box,
    )
    if not isinstance(detector, AdaptedDetector) or detector.is_calibrated:
        options.refuse_calibration_options()
        return detector
    shape = edited_shape(config, normal, detector.model.input_shape)
    if config.expect is not None:
        detector = compare_with_expected(detector, shape, config.expect, [*normal, *files])
    return detector.at(shape)


def edited_shape(
    config: ExplainConfig,
    files: Sequence[Path],
    takes: tuple[int | None, int | None, int | None] = (None, None, None),
) -> Shape:
    """(C, H, W) by the options, or else of the first image, as far as the model takes it."""
    channels, height, width = default_shape(files, takes)
    size = config.size if isinstance(config.size, tuple) else (config.size, config.size)
    return config.channels or channels, size[0] or height, size[1] or width
