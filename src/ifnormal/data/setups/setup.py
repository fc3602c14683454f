"""AnomalySetup: which images are normal, which are not, and what a detector may learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor


@dataclass(frozen=True)
class AnomalySetup:
    """The images of one anomaly-detection experiment, (N, C, H, W) uint8 each.

    The validation images are held out from training: thresholds and recipes are chosen on them.
    Test images serve for the final figures only. No drawing is in more than one of the three.

    Attributes:
        name: the setup's registered name, or the id of its card.
        normal: what is normal, in words.
        train_normal: normal images to train with.
        validation_normal, validation_anomalies: held out for thresholds and choices.
        test_normal, test_anomalies: held out for the figures.
        outliers: outlier exposure to train with, never a normal image.
        validation_outliers: outlier exposure held out.
        outlier_masks: where the outliers are anomalous, (N, H, W) bool, all of an image of which no
            more is known; None if nobody knows.
        attributes: for "validation_anomalies" and "test_anomalies", what each image shows, as
            name -> (N,) int64; empty where nobody knows.
        attribute_names: for each attribute, what its values mean.
        judge_images, judge_attributes: labelled training images for an independent judge: those of
            the training part, in every combination of attributes, normal or not. They depend
            neither on the seed nor on what is normal, so that one judge serves a whole family.
        judge_outliers: junk that the judge must refuse to name, as independent; None where the
            outliers have to do.
        normal_attributes: attribute -> the values that by themselves make an image normal.
        pictures: whether images are light drawings on a dark ground, or photographs; the judge's
            training varies the two in different ways.
        test_masks: where the test anomalies are anomalous, (N, H, W) bool; None if nobody knows.
        labelled_anomalies: anomalies of known place to train with, none of them a test image;
            None where there are none.
        labelled_masks: where these are anomalous, (N, H, W) bool.
        facts: numbers and sources worth saving beside a result; JSON-compatible.
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
    labelled_anomalies: Tensor | None = None
    labelled_masks: Tensor | None = None
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train_normal.shape[1:]
        return channels, height, width
