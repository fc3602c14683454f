"""Weights of the terms of the objective that the pixel generator is trained with."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ifnormal.config.checks import require


@dataclass(frozen=True)
class Weights:
    """Weights λ of the terms of the objective; 0 switches a term off.

    The defaults are for images of up to 48 pixels; `adapted_to` has those for larger images. The
    equations are in `ifnormal.training.objective`.

    Attributes:
        gan: weight of realism: the discriminator takes edited images for real ones.
        score: weight of the distance between the detector's score and its target.
        reconstruction: weight of keeping an image as it is if its score is to stay.
        cycle: weight of the cycle: editing back to the old score must give back the image.
        concept: weight of recognition: the concept classifier R names the concept from the image
            before and after the edit, and also from the cycle.
        no_concept: weight of R seeing no concept in pairs that were not edited, as in DISSECT.
        diversity: weight of a hinge loss that keeps the pixels of two concepts apart, as in
            section 3.1 of the paper.
        contrast: weight of a hinge loss that keeps the features of two concepts apart.
        mode: weight of the normal mode: an edited image belongs to the mode of its concept.
        minimality: weight of the pixel distance between an anomaly and its counterfactual.
        structure: weight of the structure distance between the two, which ignores colour and
            brightness.
        path: weight of frames with targets between 0 and 1 lying between the anomaly and its
            counterfactual.
        overshoot: weight of a penalty on pixel values outside [0, 1], before they are clamped.
        restoration: weight of turning a synthetic outlier back into the normal image that it was
            made from; without effect if no outliers are synthetic.
    """

    gan: float = 2.0
    score: float = 3.0
    reconstruction: float = 5.0
    cycle: float = 6.0
    concept: float = 0.2
    no_concept: float = 0.0
    diversity: float = 0.0
    contrast: float = 0.0
    mode: float = 0.3
    minimality: float = 1.0
    structure: float = 3.0
    path: float = 5.0
    overshoot: float = 0.3
    restoration: float = 10.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            require(
                0 <= getattr(self, name) < inf, f"weight {name} must be 0 or positive and finite."
            )
