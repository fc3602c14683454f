"""AnomalySetup: the images of one anomaly-detection experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class AnomalySetup:
    """The images of one anomaly-detection experiment, (N, C, H, W) uint8 each.

    Training, validation and test images do not overlap. Thresholds and options are chosen on
    validation images; test images are used for the final figures only.

    Attributes:
        name: registered name of the setup, or the id of its card.
        normal: what is normal, in words.
        train_normal: normal images to train with.
        validation_normal, validation_anomalies: held out for thresholds and options.
        test_normal, test_anomalies: held out for the figures.
        outliers: outlier exposure to train with; contains no normal image.
        validation_outliers: outlier exposure held out.
        outlier_masks: (N, H, W) bool, where the outliers are anomalous: the whole image if the
            place is unknown. None if it is unknown for all of them.
        outlier_sources: (N,) rows of the normal training images that synthetic outliers were made
            of, -1 where unknown; None if the outliers are not synthetic.
        attributes: for "validation_anomalies" and "test_anomalies", attribute -> (N,) int64 values
            of the images; empty if they are unknown.
        attribute_names: attribute -> names of its values.
        judge_images, judge_attributes: labelled training images for an independent judge, normal or
            not, in every combination of attributes. They depend neither on the seed nor on what is
            normal, so that one judge serves a whole family.
        judge_outliers: junk that the judge must refuse, equally independent; None if the outliers
            serve for that.
        normal_attributes: attribute -> the values each of which makes an image normal.
        pictures: light drawings on a dark ground, or photographs. The training of the judge
            augments the two differently.
        test_masks: (N, H, W) bool, where the test anomalies are anomalous; None if unknown.
        labelled_anomalies: anomalies to train with whose place is known, none of them a test image;
            None if there are none.
        labelled_masks: (N, H, W) bool, where these are anomalous.
        facts: numbers and sources to be saved with a result; JSON-compatible.
    """

    name: str
    normal: str
    train_normal: Tensor
    validation_normal: Tensor
    validation_anomalies: Tensor
    test_normal: Tensor
    test_anomalies: Tensor
    outliers: Tensor
    validation_outliers: Tensor
    attributes: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    attribute_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    judge_images: Tensor | None = None
    judge_attributes: Mapping[str, Tensor] = field(default_factory=dict)
    judge_outliers: Tensor | None = None
    normal_attributes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    pictures: Literal["drawings", "photographs"] = "drawings"
    test_masks: Tensor | None = None
    outlier_masks: Tensor | None = None
    outlier_sources: Tensor | None = None
    labelled_anomalies: Tensor | None = None
    labelled_masks: Tensor | None = None
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train_normal.shape[1:]
        return channels, height, width
