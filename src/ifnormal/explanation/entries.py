"""The parts of explanation.json: its head, images, counterfactuals, opinions, skipped files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

HigherIs = Literal["anomalous", "normal"]


@dataclass(frozen=True)
class Traversal:
    """Frames from an anomaly (α = 1) to its counterfactual (α = 0), side by side in one PNG.

    Attributes:
        file: the PNG, relative to the folder.
        own_scores: T scores in the user's own units.
        calibrated_scores: T scores in [0, 1].
    """

    file: str
    own_scores: Sequence[float]
    calibrated_scores: Sequence[float]

    @property
    def scores(self) -> Sequence[float]:
        """An earlier name of `own_scores`."""
        return self.own_scores


@dataclass(frozen=True)
class Opinion:
    """What one independent detector says of one image.

    Attributes:
        detector: its name.
        score: in [0, 1], calibrated.
        accepts: it does not flag the image.
    """

    detector: str
    score: float
    accepts: bool


@dataclass(frozen=True)
class Counterfactual:
    """The edit of an image by one concept, with its scores.

    Attributes:
        concept: k in 0..K-1.
        file: the PNG, relative to the folder.
        own_score: in the user's own units.
        calibrated_score: in [0, 1].
        valid: the detector does not flag it.
        concept_probabilities: the K probabilities that the concept classifier gives the edit.
        traversal: the frames that lead to it; None if none were made.
        refined: what was done to it after the generator; None if nothing was.
        second_opinion: one opinion of each independent detector, in the order of the head; ()
            where they were not asked.
    """

    concept: int
    file: str
    own_score: float
    calibrated_score: float
    valid: bool
    concept_probabilities: Sequence[float]
    traversal: Traversal | None = None
    refined: Mapping[str, Any] | None = None
    second_opinion: Sequence[Opinion] = ()

    @property
    def score(self) -> float:
        """An earlier name of `own_score`."""
        return self.own_score


@dataclass(frozen=True)
class ExplainedImage:
    """One image that was scored; without `file` and counterfactuals if it was not explained.

    Attributes:
        path: as the user named it.
        own_score: in the user's own units.
        calibrated_score: in [0, 1].
        flagged: the detector calls it anomalous.
        file: the PNG of the pixels that were scored, relative to the folder.
        counterfactuals: K, in the order of the concepts, or none.
        heatmap: a grey PNG of the detector's heatmap or input gradient; None if there is none.
        second_opinion: what the independent detectors say of the image before the edit, in the
            order of the head; () where they were not asked.
    """

    path: str
    own_score: float
    calibrated_score: float
    flagged: bool
    file: str | None = None
    counterfactuals: Sequence[Counterfactual] = ()
    heatmap: str | None = None
    second_opinion: Sequence[Opinion] = ()

    @property
    def score(self) -> float:
        """An earlier name of `own_score`."""
        return self.own_score


@dataclass(frozen=True)
class SkippedImage:
    """A file that could not be explained, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class SecondDetector:
    """An independent detector: the explained detector and the generator never met it.

    Attributes:
        detector: its name, which no other independent detector has.
        threshold: in [0, 1]; it flags images with a higher calibrated score.
        normal_images: how many held-out real normal images it was tried on.
        normal_accepted: the share of these that it accepts, in [0, 1]; None if there were none.
        auroc: in [0, 1], how well it separates held-out normal images from synthetic outliers;
            None if unknown.
    """

    detector: str
    threshold: float
    normal_images: int = 0
    normal_accepted: float | None = None
    auroc: float | None = None


@dataclass(frozen=True)
class Head:
    """What holds for all images of an explanation.

    Attributes:
        concepts: K, the number of counterfactuals of each explained image.
        shape: (C, H, W) of every picture.
        own_threshold: in the user's own units.
        calibrated_threshold: in [0, 1]; images with a higher calibrated score are flagged.
        higher_is: what a high score means in the user's own units.
        traversal_targets: T values of α, from 1 down to 0, one for each frame of a traversal.
        detector: further facts about the detector.
        facts: how the explanation was made: seed, options, versions.
        second_opinion: the D independent detectors that were asked; () for none.
        normal_accepted_by: D + 1 numbers: how many held-out real normal images are accepted by
            0, 1, ..., D of the independent detectors; () if unknown.
    """

    concepts: int
    shape: tuple[int, int, int]
    own_threshold: float
    calibrated_threshold: float
    higher_is: HigherIs = "anomalous"
    traversal_targets: Sequence[float] = ()
    detector: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    second_opinion: Sequence[SecondDetector] = ()
    normal_accepted_by: Sequence[int] = ()

    @property
    def threshold(self) -> float:
        """An earlier name of `own_threshold`."""
        return self.own_threshold
