"""Options of the exemplar editor: how parts of normal images replace parts of an anomaly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ifnormal.config.checks import require, require_choices

Registration = Literal["auto", "none", "translation", "rotation"]


@dataclass(frozen=True)
class ExemplarConfig:
    """How regions of an anomaly are replaced by regions of normal images.

    Attributes:
        concepts: K, the largest number of different counterfactuals of an image.
        donors: how many normal images are tried for an image.
        index: largest number of normal images to choose donors from.
        registration: how a donor is moved onto the image: "none", by "translation", or by
            "rotation" and translation; "auto" measures on normal images which of them pays.
        goal: what a counterfactual has to reach: "typical" is a score that a quarter of normal
            images exceeds, "threshold" only what the detector does not flag.
        queries: largest number of images that the detector scores for a counterfactual.
    """

    concepts: int = 2
    donors: int = 3
    index: int = 2000
    registration: Registration = "auto"
    goal: Literal["typical", "threshold"] = "typical"
    queries: int = 200

    def __post_init__(self) -> None:
        require_choices(self)
        require(self.concepts >= 1, "exemplar concepts must be at least 1.")
        require(self.donors >= 1, "exemplar donors must be at least 1.")
        require(self.index >= 1, "exemplar index must be at least 1.")
        require(self.queries >= 20, "exemplar queries must be at least 20.")
