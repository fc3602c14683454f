"""How images of a user's own are explained, and what is done to a counterfactual after it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from ifnormal.config.checks import require, require_choices, require_seed


@dataclass(frozen=True)
class ExplainConfig:
    """How images are explained, by a detector of the user's own.

    Attributes:
        detector: SPEC of the detector: model.onnx, model.pt2, model.pt (TorchScript),
            package.module:attribute, or a folder written by train-detector; `ifnormal detectors`
            lists the forms. An explainer knows the detector it was fitted to.
        generator: what makes the edits: "pixel" is trained for the detector, "inversion" and
            "diffedit" use a diffusion model as it is, "latent" is trained on top of it.
        backbone: of the last three, the diffusion model: a folder in diffusers' format, such as
            `ifnormal train-backbone` writes, or owner/name on the hub.
        prompt: of these, what normal images are called; given several times, it names the concepts
            of "inversion", as many as there shall be.
        source_prompt: of these, what the images to explain are called, if they have a name; without
            it, the diffusion model's own word for what is not normal, unless "" is given.
        tiny_decoder: of these, an AutoencoderTiny that the detector's gradients go through: a
            folder or owner/name on the hub. Pictures are still decoded by the diffusion model.
        explainer: folder of an explainer to use; without it, one is fitted to `normal`.
        normal: folder of normal images to fit an explainer to.
        outliers: folder of images that the detector flags, to fit an explainer to; without it,
            synthetic outliers are made from the normal images.
        trust: run the code that an exported program or TorchScript file contains, or import the
            Python code that the folder of an explainer names.
        black_box: use only the scores of the detector, though it may have gradients.
        expect: CSV file of path,score with the user's own scores, which the detector has to give.
        size: sides (or height, width) at which images are edited and scored; multiples of 4. 0 is
            that of the first normal image, or of what the detector takes where this is smaller,
            and at most 128.
        channels: 1 edits grey images, 3 RGB; 0 is what the first normal image has.
        threshold: scores beyond it are flagged, in the detector's own units; without it, the one
            that the detector brings, else what a `false_alarm_rate` of 0.05 gives.
        false_alarm_rate: share of held-out normal images that may be flagged, in place of any
            threshold.
        higher_is: what a high score of the detector means; "auto" goes by the kind of detector.
        min_score: explain images whose score reaches this, in the detector's own units, instead of
            those that are flagged.
        all: explain every image, flagged or not.
        on_bad_image: "skip" lists what cannot be read and goes on, "error" stops.
        traversal_steps: images on the way to each counterfactual, along α; 0 for none.
        refine: improve counterfactuals that the detector still flags, by a few gradient steps.
        thrift: take back what the edit did not need.
        index: which shard of the images to do, from 0.
        of: number of shards; all write into the same folder.
        fresh: begin anew where the folder holds the beginning of another explanation.
        seed: makes the run repeatable.
    """

    detector: str | None = None
    generator: Literal["pixel", "inversion", "diffedit", "latent"] = "pixel"
    backbone: str | None = None
    prompt: tuple[str, ...] = ()
    source_prompt: str | None = None
    tiny_decoder: str | None = None
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
    higher_is: Literal["auto", "anomalous", "normal"] = "auto"
    min_score: float | None = None
    all: bool = False
    on_bad_image: Literal["skip", "error"] = "skip"
    traversal_steps: int = 9
    refine: bool = False
    thrift: bool = False
    index: int = 0
    of: int = 1
    fresh: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        require_choices(self)
        require_seed(self.seed)
        for side in self.size if isinstance(self.size, tuple) else (self.size,):
            require(
                side >= 0 and side % 4 == 0, "size must be a multiple of 4, or 0 for the default."
            )
        latent = self.generator != "pixel"
        require(
            not latent or self.backbone is not None or self.explainer is not None,
            f"The generator {self.generator} needs a diffusion model; name it with --backbone, or "
            "train one with ifnormal train-backbone.",
        )
        for name in ("backbone", "prompt", "source_prompt", "tiny_decoder"):
            option = name.replace("_", "-")
            require(
                latent or getattr(self, name) in (None, ()),
                f"--{option} is of a diffusion model; name a --generator that uses one.",
            )
        require(
            not (latent and (self.refine or self.thrift)),
            "refine and thrift work through the pixel generator; leave them out.",
        )
        rate = self.false_alarm_rate
        require(rate is None or 0 < rate < 1, "false_alarm_rate must lie between 0 and 1.")
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


@dataclass(frozen=True)
class RefineConfig:
    """How counterfactuals that miss the threshold are refined; see `ifnormal.refinement`.

    Attributes:
        steps: gradient steps an image.
        learning_rate: of the offset to the generator's steering.
        minimality: weight of the pixel distance between an anomaly and its edit.
        faithfulness: weight of the pixel distance from the generator's own answer, which keeps the
            concept.
        aim: calibrated score to aim at, if the threshold is above it; a median normal image has
            about 0.05 to 0.1. What only passes the threshold is kept where nothing gets so far.
        reach: how far from the generator's own answer a refined one may be, as a share of that
            answer's distance from the anomaly; beyond it lies what the generator never learnt.
    """

    steps: int = 20
    learning_rate: float = 0.05
    minimality: float = 1.0
    faithfulness: float = 5.0
    aim: float = 0.2
    reach: float = 1.0

    def __post_init__(self) -> None:
        require(self.steps >= 1, "refine steps must be at least 1.")
        require(0 < self.learning_rate < inf, "refine learning_rate must be positive and finite.")
        require(0 <= self.minimality < inf, "refine minimality must be 0 or positive and finite.")
        require(0 < self.aim < 1, "refine aim must lie between 0 and 1.")
        require(0 < self.reach < inf, "refine reach must be positive and finite.")


@dataclass(frozen=True)
class ThriftConfig:
    """How edits that were not needed are reverted; see `ifnormal.thrift`.

    Attributes:
        spend: share of a counterfactual's distance from the threshold, in log-odds, that may be
            given up; 0 lets no score get worse, 1 lets it end on the threshold itself.
        again: an edit is needed if the generator makes more than this share of it again.
        regions: at most so many regions of an image are judged one by one, the most edited first.
        faint: edits of at most so many of the 255 steps of a pixel belong to no region; they are
            reverted all together or not at all.
    """

    spend: float = 0.5
    again: float = 0.2
    regions: int = 12
    faint: int = 16

    def __post_init__(self) -> None:
        require(0 <= self.spend <= 1, "thrift spend must lie between 0 and 1.")
        require(0 <= self.again < inf, "thrift again must be 0 or positive and finite.")
        require(self.regions >= 1, "thrift regions must be at least 1.")
        require(0 <= self.faint <= 254, "thrift faint must lie between 0 and 254.")
