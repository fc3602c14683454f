"""How the generator is trained against a frozen detector."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal

from ifnormal.config.checks import require, require_choices

# What is a small image; the networks have more to them beyond.
SMALL_SIDE = 48


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
        require(self.width >= 4, "generator width must be at least 4.")
        require(self.outer_blocks >= 1, "generator outer_blocks must be at least 1.")
        require(self.inner_blocks >= 1, "generator inner_blocks must be at least 1.")


@dataclass(frozen=True)
class Weights:
    """λ of every term of the objective; 0 switches a term off.

    The defaults are for images of up to 48 pixels; `adapted_to` has those for larger ones, which
    count as long as no weight is chosen.

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
            require(
                0 <= getattr(self, name) < inf, f"weight {name} must be 0 or positive and finite."
            )


@dataclass(frozen=True)
class SurrogateConfig:
    """How a detector that only returns scores is imitated; of no effect for any other.

    Attributes:
        query_budget: images that the detector may be asked to score from the first distillation
            to the end of a fit; those before are few and in the facts as `queries_before_fit`.
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
        require(self.query_budget >= 100, "query_budget must be at least 100.")
        require(self.steps >= 1, "surrogate steps must be at least 1.")
        require(self.batch_size >= 4, "surrogate batch_size must be at least 4.")
        for name in ("learning_rate", "refresh_learning_rate"):
            require(0 < getattr(self, name) < inf, f"surrogate {name} must be positive and finite.")
        require(self.refresh_every >= 1, "refresh_every must be at least 1.")
        require(self.refresh_steps >= 1, "refresh_steps must be at least 1.")
        require(self.width >= 1, "surrogate width must be at least 1.")


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
        require_choices(self)
        require(self.concepts >= 1, "concepts must be at least 1.")
        require(self.steps >= 1, "steps must be at least 1.")
        require(self.batch_size >= 1, "batch_size must be at least 1.")
        for name in (
            "learning_rate",
            "discriminator_learning_rate",
            "classifier_learning_rate",
        ):
            require(0 < getattr(self, name) < inf, f"{name} must be positive and finite.")
        for name in ("concept_noise", "diversity_margin"):
            require(0 <= getattr(self, name) < inf, f"{name} must be 0 or positive and finite.")
        require(0 <= self.moved_share <= 1, "moved_share must lie between 0 and 1.")
        require(0 <= self.decay <= 1, "decay must lie between 0 and 1.")
        require(0 <= self.ema < 1, "ema must be at least 0 and less than 1.")
        require(
            min(self.targets_zero, self.targets_one) >= 0
            and self.targets_zero + self.targets_one <= 1,
            "targets_zero and targets_one must not be negative nor exceed 1 together.",
        )
        require(self.discriminator_width >= 1, "discriminator_width must be at least 1.")
        require(self.checkpoint_every >= 1, "checkpoint_every must be at least 1.")


def adapted_to(config: FitConfig, side: int) -> FitConfig:
    """The same with the weights that suit images of `side` pixels, unless weights were chosen.

    Beyond 48 pixels, faint stripes all over an image that please the detector are cheaper, by the
    weights of small images, than to mend a defect. There, to keep the image, and to mend what was
    spoilt, counts for more, and the score for less.
    """
    if side <= SMALL_SIDE or config.weights != Weights():
        return config
    weights = replace(
        config.weights, gan=1.0, score=2.0, reconstruction=20.0, minimality=2.0, restoration=20.0
    )
    return replace(config, weights=weights)


def fit_config(saved: dict[str, Any]) -> FitConfig:
    """FitConfig from the JSON of `asdict`."""
    nested = {
        "weights": Weights(**saved["weights"]),
        "generator": GeneratorConfig(**saved["generator"]),
        "surrogate": SurrogateConfig(**saved.get("surrogate", {})),
    }
    return FitConfig(**{**saved, **nested})
