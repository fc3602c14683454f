"""Every option there is, as frozen dataclasses checked when made; the command line is these.

No torch here: `ifnormal --help` reads this file and must answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ifnormal.errors import UserError

Objective = Literal["bce", "hsc", "dsvdd"]
Budget = Literal["smoke", "small", "paper"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


def _require_choices(config: object) -> None:
    """Every field declared as a `Literal` holds one of its values."""
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is Literal:
            choices = get_args(kind)
            _require(
                getattr(config, name) in choices,
                f"{name} must be one of {', '.join(map(str, choices))}.",
            )


def require_seed(seed: int) -> None:
    """Refuse a seed that some library would not take.

    Raises:
        UserError: it is negative or needs more than 32 bits.
    """
    _require(0 <= seed < 2**32, f"seed must lie between 0 and {2**32 - 1}.")


@dataclass(frozen=True)
class DataConfig:
    """Which images, and which of them are normal.

    Attributes:
        setup: name of a registered setup; `colored-mnist` is the paper's C-MNIST, `folder` is your
            own images.
        data_root: folder of Hugging Face style Parquet sets (`mnist/`, `emnist_letters/`); without
            it the embedded 5,000 digits are used. On the command line, the environment variable
            IFNORMAL_DATA is its default.
        normal_digit: the digit that is normal in any colour.
        normal_color: the colour that makes any digit normal.
        colors_per_digit: "all" draws every training digit in each colour that its role allows,
            "one" gives each digit a single colour by the seed.
        drawings: use at most this many drawings, test drawings included; 0 means all.
        outliers: number of outlier-exposure letters or, of `folder`, of synthetic outliers, as far
            as they fit into 128 MB.
        normal: `folder`: a folder of normal images, and only such.
        outlier_images: `folder`: a folder of images that are not normal, to train with; without it
            synthetic ones are made of the normal images.
        anomalies: `folder`: a folder of anomalies that were never trained with, for the figures.
        size: `folder`: height and width that every image is brought to, a multiple of 4.
        channels: `folder`: 1 reads images as grey, 3 as RGB.
    """

    setup: str = "colored-mnist"
    data_root: Path | None = None
    normal_digit: int = 1
    normal_color: str = "cyan"
    colors_per_digit: Literal["one", "all"] = "all"
    drawings: int = 0
    outliers: int = 12000
    normal: Path | None = None
    outlier_images: Path | None = None
    anomalies: Path | None = None
    size: int = 64
    channels: Literal[1, 3] = 3

    def __post_init__(self) -> None:
        _require_choices(self)
        _require(self.size >= 8 and self.size % 4 == 0, "size must be a multiple of 4, at least 8.")
        _require(0 <= self.normal_digit <= 9, "normal_digit must be between 0 and 9.")
        _require(
            self.drawings == 0 or self.drawings >= 200,
            "drawings must be 0 (all) or at least 200, so that every digit occurs in every split.",
        )
        _require(self.outliers >= 32, "outliers must be at least 32.")


@dataclass(frozen=True)
class DetectorConfig:
    """How a detector is trained.

    Attributes:
        objective: "bce" and "hsc" use outlier exposure, "dsvdd" only normal images.
        steps: optimizer steps.
        batch_size: images a step, half normal and half outliers where these are used.
        learning_rate: peak of the one-cycle schedule.
        false_alarm_rate: share of held-out normal images above the decision threshold.
        width: channels of the first stage; the later ones have 2x and 4x as many.
        augment: whether training images are varied in place, size, angle, brightness and contrast;
            "auto" is below 2,000 normal images. None of it may make an anomaly of a normal image.
        flip: mirror images at random as well, where a mirrored one is as normal.
        turn: up to so many degrees in either direction; 180 where any orientation is normal.
        resize: larger or smaller by up to this share.
        brightness: brighter or darker, with more or less contrast, by up to this share.
    """

    objective: Objective = "bce"
    steps: int = 800
    batch_size: int = 128
    learning_rate: float = 2e-3
    false_alarm_rate: float = 0.05
    width: int = 32
    augment: Literal["auto", "on", "off"] = "auto"
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    turn: float = 4.0
    resize: float = 0.03
    brightness: float = 0.05

    def __post_init__(self) -> None:
        _require_choices(self)
        _require(0 <= self.turn <= 180, "detector turn must lie between 0 and 180 degrees.")
        for name in ("resize", "brightness"):
            _require(0 <= getattr(self, name) < 1, f"detector {name} must lie between 0 and 1.")
        _require(self.steps >= 1, "detector steps must be at least 1.")
        _require(self.batch_size >= 2, "detector batch_size must be at least 2.")
        _require(0 < self.false_alarm_rate < 1, "false_alarm_rate must lie between 0 and 1.")
        _require(
            0 < self.learning_rate < inf, "detector learning_rate must be positive and finite."
        )
        _require(self.width >= 1, "detector width must be at least 1.")


@dataclass(frozen=True)
class Preprocessing:
    """What becomes of an image before a user's own model scores it, in this order.

    Images are shown and edited as they are; only what the model sees goes through this.

    Attributes:
        channels: 1 turns colour into grey, 3 repeats grey; None leaves the channels.
        bgr: the model takes blue, green, red instead of red, green, blue.
        size: (height, width) to scale the whole frame to, bilinear with antialiasing.
        crop: (height, width) to cut out of the centre.
        low: what black becomes.
        high: what white becomes: 255 for a model that takes 0..255.
        mean: subtracted after that, one number a channel or one for all.
        std: divided by after that, one number a channel or one for all.
    """

    channels: Literal[1, 3] | None = None
    bgr: bool = False
    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _require(self.channels in (None, 1, 3), "preprocessing channels must be 1 or 3.")
        for name in ("size", "crop"):
            sides = getattr(self, name)
            _require(
                sides is None or (len(sides) == 2 and min(sides) >= 1),
                f"preprocessing {name} must be a height and a width of at least 1.",
            )
        _require(-inf < self.low < self.high < inf, "preprocessing low must be less than its high.")
        for name in ("mean", "std"):
            values = getattr(self, name)
            _require(
                values is None or (len(values) in (1, 3) and all(-inf < v < inf for v in values)),
                f"preprocessing {name} must be 1 or 3 finite numbers.",
            )
        _require(
            self.std is None or min(self.std) > 0, "preprocessing std must be positive numbers."
        )


@dataclass(frozen=True)
class GeneratorConfig:
    """Size of the generator.

    Attributes:
        width: channels at half resolution; twice as many at a quarter.
        outer_blocks: residual blocks at half resolution, before and after the inner ones.
        inner_blocks: residual blocks at a quarter of the resolution.
    """

    width: int = 32
    outer_blocks: int = 1
    inner_blocks: int = 4

    def __post_init__(self) -> None:
        _require(self.width >= 4, "generator width must be at least 4.")
        _require(self.outer_blocks >= 1, "generator outer_blocks must be at least 1.")
        _require(self.inner_blocks >= 1, "generator inner_blocks must be at least 1.")


@dataclass(frozen=True)
class Weights:
    """λ of every term of the objective; 0 switches a term off.

    Attributes:
        gan: realism of the edited images.
        score: distance of the detector's score from its target.
        reconstruction: an image asked to keep its score must stay as it is.
        cycle: the edit must be undoable.
        concept: R must recognise the concept from the pair (before, after) and from the way back.
        no_concept: R must see no concept in pairs that were not edited (DISSECT).
        diversity: pixel hinge that keeps the concepts' images apart (ε′ of section 3.1).
        contrast: cosine hinge that keeps their features apart.
        mode: the edited image must belong to the normal mode of its concept.
        minimality: pixel distance between an anomaly and its edit.
        structure: structure distance between the two, blind to colour and brightness.
        path: half-way images must lie between the anomaly and the full edit.
        overshoot: penalty on what is clamped to [0, 1].
        restoration: a synthetic outlier must become the normal image again that it was made of; of
            effect only where outliers are synthetic.
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
            _require(
                0 <= getattr(self, name) < inf, f"weight {name} must be 0 or positive and finite."
            )


@dataclass(frozen=True)
class SurrogateConfig:
    """How a detector that only returns scores is imitated; of no effect for any other.

    Attributes:
        query_budget: images that the detector may be asked to score in a fit, all told.
        steps: optimizer steps of the surrogate before the fit.
        batch_size: images a step.
        learning_rate: peak of the one-cycle schedule before the fit.
        refresh_every: generator steps between two refreshes with the generator's own outputs.
        refresh_steps: optimizer steps of the surrogate a refresh.
        refresh_learning_rate: of these.
        width: channels of the surrogate's first stage; the later ones have 2x and 4x as many.
    """

    query_budget: int = 200_000
    steps: int = 1500
    batch_size: int = 128
    learning_rate: float = 2e-3
    refresh_every: int = 2
    refresh_steps: int = 2
    refresh_learning_rate: float = 5e-4
    width: int = 32

    def __post_init__(self) -> None:
        _require(self.query_budget >= 100, "query_budget must be at least 100.")
        _require(self.steps >= 1, "surrogate steps must be at least 1.")
        _require(self.batch_size >= 4, "surrogate batch_size must be at least 4.")
        for name in ("learning_rate", "refresh_learning_rate"):
            _require(
                0 < getattr(self, name) < inf, f"surrogate {name} must be positive and finite."
            )
        _require(self.refresh_every >= 1, "refresh_every must be at least 1.")
        _require(self.refresh_steps >= 1, "refresh_steps must be at least 1.")
        _require(self.width >= 1, "surrogate width must be at least 1.")


@dataclass(frozen=True)
class FitConfig:
    """How the generator is trained against a frozen detector.

    Attributes:
        concepts: K, in how many different ways each anomaly is edited.
        steps: optimizer steps of the generator.
        batch_size: images a step; each is edited in every concept.
        learning_rate: of the generator.
        discriminator_learning_rate: of the discriminator.
        classifier_learning_rate: of the concept classifier.
        decay: share of the steps, at the end, over which learning rates fall to zero.
        ema: decay of the averaged generator weights, the ones that explain.
        weights: λ of the objective's terms; `Explainer` adapts the default ones to images beyond 48
            pixels, see `adapted_to`.
        generator_loss: "linear" is −D(x̄), "hinge" the paper's relu(1 − D(x̄)).
        concept_space: whether R reads the pair's pixels or the detector's features of it.
        concept_noise: deviation of the noise on what R reads, while training.
        conditional: the discriminator also judges whether an image belongs to its concept's mode.
        diversity_margin: ε′, mean absolute pixel difference that two concepts must have.
        moved_share: share of outliers among the images with α = 0, of normal ones with α = 1.
        targets_zero: share of α = 0 among the targets.
        targets_one: share of α = 1; the rest is uniform.
        generator: size of the generator.
        discriminator_width: channels of the discriminator's first stage.
        checkpoint_every: steps between checkpoints.
        precision: "auto" is bfloat16 where it is fast, else float32.
        surrogate: how a detector without a gradient is imitated.
        augment: whether the discriminator sees its images in varied colours, shifted and with parts
            cut out, so that it does not learn few images by heart; "auto" is below 2,000 normal
            images.
    """

    concepts: int = 2
    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 1e-3
    discriminator_learning_rate: float = 1e-3
    classifier_learning_rate: float = 1e-3
    decay: float = 0.3
    ema: float = 0.995
    weights: Weights = field(default_factory=Weights)
    generator_loss: Literal["linear", "hinge"] = "linear"
    concept_space: Literal["pixels", "features"] = "features"
    concept_noise: float = 1.0
    conditional: bool = True
    diversity_margin: float = 0.06
    moved_share: float = 0.8
    targets_zero: float = 0.5
    targets_one: float = 0.25
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator_width: int = 32
    checkpoint_every: int = 500
    precision: Literal["auto", "bf16-mixed", "32-true"] = "auto"
    surrogate: SurrogateConfig = field(default_factory=SurrogateConfig)
    augment: Literal["auto", "on", "off"] = "auto"

    def __post_init__(self) -> None:
        _require_choices(self)
        _require(self.concepts >= 1, "concepts must be at least 1.")
        _require(self.steps >= 1, "steps must be at least 1.")
        _require(self.batch_size >= 1, "batch_size must be at least 1.")
        for name in (
            "learning_rate",
            "discriminator_learning_rate",
            "classifier_learning_rate",
        ):
            _require(0 < getattr(self, name) < inf, f"{name} must be positive and finite.")
        for name in ("concept_noise", "diversity_margin"):
            _require(0 <= getattr(self, name) < inf, f"{name} must be 0 or positive and finite.")
        _require(0 <= self.moved_share <= 1, "moved_share must lie between 0 and 1.")
        _require(0 <= self.decay <= 1, "decay must lie between 0 and 1.")
        _require(0 <= self.ema < 1, "ema must be at least 0 and less than 1.")
        _require(
            min(self.targets_zero, self.targets_one) >= 0
            and self.targets_zero + self.targets_one <= 1,
            "targets_zero and targets_one must not be negative nor exceed 1 together.",
        )
        _require(self.discriminator_width >= 1, "discriminator_width must be at least 1.")
        _require(self.checkpoint_every >= 1, "checkpoint_every must be at least 1.")


@dataclass(frozen=True)
class DemoConfig:
    """The whole job on one data set, from the images to the report.

    Attributes:
        out: folder for everything the demo writes.
        objective: the detector's objective.
        budget: "smoke" exercises the whole path in about a minute and its figures mean nothing;
            "small" is the default; "paper" trains longer, for the full MNIST.
        seed: makes the run repeatable.
        concepts: K, in how many different ways each anomaly is edited.
        data_root: folder of Parquet sets with the full MNIST (`mnist/`) and, where it is there,
            EMNIST (`emnist_letters/`); without it the embedded 5,000 digits are used. On the
            command line, the environment variable IFNORMAL_DATA is its default.
        resume: go on from the last checkpoint in `out`.
    """

    out: Path = Path("runs/demo")
    objective: Objective = "bce"
    budget: Budget = "small"
    seed: int = 0
    concepts: int = 2
    data_root: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        _require_choices(self)
        require_seed(self.seed)
        _require(self.concepts >= 1, "concepts must be at least 1.")


@dataclass(frozen=True)
class ExplainConfig:
    """How images are explained, by a detector of the user's own.

    Attributes:
        detector: SPEC of the detector: model.onnx, model.pt2, model.pt (TorchScript),
            package.module:attribute, or a folder written by train-detector; `ifnormal detectors`
            lists the forms. An explainer knows the detector it was fitted to.
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
        _require_choices(self)
        require_seed(self.seed)
        for side in self.size if isinstance(self.size, tuple) else (self.size,):
            _require(
                side >= 0 and side % 4 == 0, "size must be a multiple of 4, or 0 for the default."
            )
        rate = self.false_alarm_rate
        _require(rate is None or 0 < rate < 1, "false_alarm_rate must lie between 0 and 1.")
        for name in ("threshold", "min_score"):
            value = getattr(self, name)
            _require(value is None or -inf < value < inf, f"{name} must be a finite number.")
        _require(
            not (self.all and self.min_score is not None),
            "Give either all or min_score: all explains every image, whatever its score.",
        )
        _require(
            self.traversal_steps >= 0 and self.traversal_steps != 1,
            "traversal_steps must be 0 or above 1.",
        )
        _require(self.of >= 1, "of must be at least 1.")
        _require(0 <= self.index < self.of, "index must lie between 0 and one less than of.")


# What is a small image; the networks have more to them beyond.
SMALL_SIDE = 48


def adapted_to(config: FitConfig, side: int) -> FitConfig:
    """The same with the weights that suit images of `side` pixels, unless weights were chosen.

    Beyond 48 pixels, faint stripes all over an image that please the detector are cheaper, by the
    weights of small images, than to mend a defect. There, to keep the image, and to mend what was
    spoilt, counts for more, and the score for less.
    """
    if side <= SMALL_SIDE or config.weights != Weights():
        return config
    weights = replace(
        config.weights, gan=1.0, score=1.0, reconstruction=20.0, minimality=2.0, restoration=20.0
    )
    return replace(config, weights=weights)


DATA_PATHS = ("data_root", "normal", "outlier_images", "anomalies")


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
        _require(self.steps >= 1, "refine steps must be at least 1.")
        _require(0 < self.learning_rate < inf, "refine learning_rate must be positive and finite.")
        _require(0 <= self.minimality < inf, "refine minimality must be 0 or positive and finite.")
        _require(0 < self.aim < 1, "refine aim must lie between 0 and 1.")
        _require(0 < self.reach < inf, "refine reach must be positive and finite.")


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
        _require(0 <= self.spend <= 1, "thrift spend must lie between 0 and 1.")
        _require(0 <= self.again < inf, "thrift again must be 0 or positive and finite.")
        _require(self.regions >= 1, "thrift regions must be at least 1.")
        _require(0 <= self.faint <= 254, "thrift faint must lie between 0 and 254.")


def data_config(saved: dict[str, Any]) -> DataConfig:
    """DataConfig from the JSON of `asdict`."""
    paths = {name: Path(saved[name]) if saved.get(name) else None for name in DATA_PATHS}
    return DataConfig(**{**saved, **paths})


def fit_config(saved: dict[str, Any]) -> FitConfig:
    """FitConfig from the JSON of `asdict`."""
    nested = {
        "weights": Weights(**saved["weights"]),
        "generator": GeneratorConfig(**saved["generator"]),
        "surrogate": SurrogateConfig(**saved.get("surrogate", {})),
    }
    return FitConfig(**{**saved, **nested})


def preprocessing_config(saved: dict[str, Any]) -> Preprocessing:
    """Preprocessing from the JSON of `asdict`, where tuples have become lists."""
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()
    }
    return Preprocessing(**fields)
