"""Options of `ifnormal explain`: how the images of a user are explained."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from ifnormal.config.checks import require, require_choices, require_seed
from ifnormal.config.editors import EditorConfig, require_refinement


@dataclass(frozen=True)
class ExplainConfig(EditorConfig):
    """How the images of a user are explained.

    Attributes:
        detector: the detector: model.onnx, model.pt2, model.pt (TorchScript),
            package.module:attribute, or a folder written by train-detector; `ifnormal detectors`
            lists all of these. The name of a built-in kind, such as padim, trains one on the images
            of --normal; without any, the best of some kinds is trained there. The default for
            --explainer is the detector that it was fitted to.
        explainer: folder of a fitted explainer; by default a new explainer is fitted to the images
            of --normal.
        normal: folder of normal images, which a new explainer is fitted to.
        outliers: folder of images that the detector flags, for fitting a new explainer; by default
            synthetic outliers are made from the normal images.
        trust: run the code inside an exported program or TorchScript file, and import the Python
            code that the folder of an explainer names.
        black_box: use only the scores of the detector, even if it has gradients.
        expect: CSV file with the columns path and score; the detector is refused unless it gives
            the images these scores.
        size: height and width at which images are edited and scored, one number or
            [HEIGHT,WIDTH], multiples of 4. 0 takes the size of the first normal image or the input
            size of the detector, whichever is smaller, and at most 128.
        channels: 1 edits images in grey, 3 in RGB; 0 takes the channels of the first normal image.
        threshold: images with a score beyond it are flagged, in the detector's own units. The
            default is the threshold of the detector, or else the one that a --false-alarm-rate of
            0.05 gives.
        false_alarm_rate: set the threshold so that this share of held-out normal images is flagged.
        contamination: the share of the images of --normal that are not normal, from 0 to 0.5: as
            many, the least normal to two small detectors, are left out of calibration, threshold
            and fit. "auto" estimates the share, and leaves suspects out unless the folder may as
            well be clean; that takes about 0.1 seconds an image. `ifnormal check-data
            --contamination` only tells.
        higher_is: whether a high score of the detector means "anomalous" or "normal"; "auto" knows
            it from the kind of detector.
        min_score: explain the images whose score is at least this, in the detector's own units,
            instead of the flagged ones.
        all: explain every image, flagged or not.
        on_bad_image: what to do with a file that cannot be read: "skip" lists it and goes on,
            "error" stops.
        traversal_steps: number of frames from the image to each counterfactual; 0 makes none.
        refine: improve counterfactuals that the detector still flags, by a few gradient steps.
        thrift: revert the parts of an edit that the counterfactual does not need.
        no_second_opinion: train no independent detectors on the normal images. By default two of
            other kinds are trained, and asked about every counterfactual.
        index: which part of the images to do, counted from 0, if several machines share the work.
        of: number of parts that the images are split into; all write into the same folder.
        fresh: begin anew in a folder that holds an unfinished explanation made with other options.
        seed: random seed; the same seed gives the same result.
    """

    detector: str | None = None
    explainer: Path | None = None
    normal: Path | None = None
    outliers: Path | None = None
    trust: bool = False
    black_box: bool = False
    expect: Path | None = None
    size: tuple[int, int] | int = 0
    channels: Literal[0, 1, 3] = 0
    threshold: float | None = None
    false_alarm_rate: float | None = None
    contamination: Literal["auto"] | float = 0.0
    higher_is: Literal["auto", "anomalous", "normal"] = "auto"
    min_score: float | None = None
    all: bool = False
    on_bad_image: Literal["skip", "error"] = "skip"
    traversal_steps: int = 9
    refine: bool = False
    thrift: bool = False
    no_second_opinion: bool = False
    index: int = 0
    of: int = 1
    fresh: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choices(self)
        require_seed(self.seed)
        for side in self.size if isinstance(self.size, tuple) else (self.size,):
            require(
                side >= 0 and side % 4 == 0, "size must be a multiple of 4, or 0 for the default."
            )
        if self.explainer is None:
            self.require_backbone()
        if self.refine:
            require_refinement(self.generator)
        rate = self.false_alarm_rate
        require(rate is None or 0 < rate < 1, "false_alarm_rate must lie between 0 and 1.")
        share = self.contamination
        require(
            share == "auto" or (not isinstance(share, str) and 0 <= share <= 0.5),
            "contamination must be auto or lie between 0 and 0.5.",
        )
        for name in ("threshold", "min_score"):
            value = getattr(self, name)
            require(value is None or -inf < value < inf, f"{name} must be a finite number.")
        require(
            not (self.all and self.min_score is not None),
            "Give either all or min_score: all explains every image, whatever its score.",
        )
        require(
            self.traversal_steps >= 0 and self.traversal_steps != 1,
            "traversal_steps must be 0 or above 1.",
        )
        require(self.of >= 1, "of must be at least 1.")
        require(0 <= self.index < self.of, "index must lie between 0 and one less than of.")
