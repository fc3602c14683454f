"""Anomaly scores of images by detectors that were not fitted to them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.model_selection import KFold
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.config import DetectorConfig
from ifnormal.config.detector import Objective
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.kinds import new_detector
from ifnormal.detectors.detector import in_batches
from ifnormal.features.extractor import FeatureExtractor
from ifnormal.features.loading import feature_extractor
from ifnormal.features.remembered import RememberedMaps

KINDS: tuple[Objective, ...] = ("mvg", "padim")
FOLDS = 5


def cross_fitted_scores(
    images: Tensor,
    seed: int,
    report: Callable[[int], None] = lambda done: None,
    extractor: FeatureExtractor | None = None,
) -> Tensor:
    """Raw scores of each image by detectors fitted to the four fifths without it.

    A detector takes the anomalies that it was fitted to for normal, the more so the fewer images
    there are. Each image is therefore scored out of sample, in a cross-validation of five folds.

    Args:
        images: (N, C, H, W) uint8, N of at least 5.
        seed: decides which images are in a fold.
        report: called with the number of detectors that were fitted.
        extractor: as `remembering_extractor` makes one, to be used for several calls.

    Returns:
        (N, M) float32 of the M detectors `KINDS`; high for anomalies.

    Raises:
        UserError: there are too few images, or they all look the same to the network.
    """
    count = len(images)
    if count < FOLDS:
        raise UserError(
            f"Scores are cross-validated in {FOLDS} folds, which takes at least {FOLDS} images, "
            f"not {count}; give more."
        )
    remembered = extractor or remembering_extractor()
    folds = list(KFold(FOLDS, shuffle=True, random_state=seed).split(images))
    channels, height, width = images.shape[1:]
    columns = []
    for number, kind in enumerate(KINDS):
        detector = new_detector(DetectorConfig(objective=kind), (channels, height, width))
        detector.extractor = remembered
        columns.append(torch.empty(count))
        for fold, (others, held_out) in enumerate(folds):
            columns[-1][held_out] = _scores(detector, images[others], images[held_out], seed)
            report(FOLDS * number + fold + 1)
    return torch.stack(columns, 1)


def remembering_extractor() -> RememberedMaps:
    """The network of the detectors' features, which sees each image once."""
    config = DetectorConfig()
    network = feature_extractor(config.features, config.features_side)
    return RememberedMaps(network, (*network.middle, len(network.channels) - 1))


def _scores(detector: BuiltinDetector, normal: Tensor, images: Tensor, seed: int) -> Tensor:
    """Raw scores (N,) of images after a fit to normal ones, (., C, H, W) uint8 both."""
    none = normal[:0]
    detector.fit(AnomalySetup("", "as given", normal, none, none, none, none, none, none), seed)
    return in_batches(lambda part: detector.raw(part)[0], images)
