"""Options of the pixel generator and its training against a frozen detector."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal

from ifnormal.config.checks import require, require_choices
from ifnormal.config.surrogate import SurrogateConfig
from ifnormal.config.weights import Weights

OutlierRating = Literal["off", "report", "prefer"]

# Largest side of a small image; the networks have more layers for larger ones.
SMALL_SIDE = 48


@dataclass(frozen=True)
class GeneratorConfig:
    """Size of the pixel generator.

    Attributes:
        width: channels at half resolution; there are twice as many at a quarter of the resolution.
        outer_blocks: residual blocks at half resolution, before and again after the inner blocks.
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
class FitConfig:
    """How the pixel generator is trained against a frozen detector.

    Attributes:
        concepts: number K of concepts; each anomaly gets one counterfactual per concept.
        steps: optimizer steps of the generator.
        batch_size: images per step; each is edited once per concept.
        learning_rate: learning rate of the generator.
        discriminator_learning_rate: learning rate of the discriminator.
        classifier_learning_rate: learning rate of the concept classifier.
        decay: share of the steps, at the end, during which the learning rates fall to zero.
        ema: decay of the moving average of the generator's weights; the averaged weights make the
            counterfactuals.
        weights: weights λ of the terms of the objective. The defaults are for images of up to 48
            pixels; for larger images, `Explainer` replaces them unless you set one.
        generator_loss: "linear" is −D(x̄), "hinge" is relu(1 − D(x̄)) as in the paper.
        concept_space: whether the concept classifier reads pixels or features of the detector.
        concept_noise: standard deviation of the noise that is added to what the concept classifier
            reads in training.
        conditional: whether the discriminator also judges if an edited image belongs to the normal
            mode of its concept.
        diversity_margin: mean absolute pixel difference ε′ that two concepts must have; used by the
            weight `diversity`.
        moved_share: share of outliers among images whose target is 0, and of normal images among
            those whose target is 1, so that most edits have to change the score.
        targets_zero: share of the targets α that are 0, which is normal.
        targets_one: share of the targets α that are 1, which is anomalous; the rest is uniform.
        generator: size of the generator.
        discriminator_width: channels of the first stage of the discriminator.
        checkpoint_every: steps between two checkpoints.
        precision: "auto" is bfloat16 on hardware where that is fast, and float32 elsewhere.
        surrogate: how a detector without a gradient is imitated.
        augment: whether the images that the discriminator sees are randomly shifted, changed in
            colour and cut out, so that it does not memorise a small data set; "auto" does so for
            fewer than 2,000 normal images.
        outlier_quality: "report" rates up to 200 synthetic outliers and says how many are useless;
            "prefer" rates all of them and draws good ones more often, which takes 12 ms an image on
            one core; "off" does neither.
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
    outlier_quality: OutlierRating = "report"

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
    """The options for images of `side` pixels; weights that were chosen stay.

    With the weights for small images, a generator of images beyond 48 pixels satisfies the detector
    by faint stripes all over the image instead of repairing a defect. So for large images, keeping
    the image and restoring synthetic outliers weigh more, and the score weighs less.
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
