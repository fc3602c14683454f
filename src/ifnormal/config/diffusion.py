"""Options of the editors that work in the latent space of a diffusion model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import inf
from typing import Any

from ifnormal.config.checks import require

_BOLDER = 0.1


@dataclass(frozen=True)
class MaskConfig:
    """The mask of an edit: where the noise predictions for two prompts differ.

    Attributes:
        strength: how much noise is added to the image for the prediction, above 0 and up to 1.
        maps: number of random noises that the differences are averaged over.
        threshold: a pixel is edited if the difference there exceeds this many times half of the
            image's mean difference. With a soft mask, it is edited fully from this many times the
            mean on, and in proportion below.
        soft: whether the mask has values between 0 and 1.
        guidance: classifier-free guidance scale of the predictions; 1 is the prompt alone.
    """

    strength: float = 0.5
    maps: int = 4
    threshold: float = 1.5
    soft: bool = True
    guidance: float = 1.0

    def __post_init__(self) -> None:
        require(0 < self.strength <= 1, "mask strength must be above 0 and at most 1.")
        require(self.maps >= 1, "mask maps must be at least 1.")
        require(0 < self.threshold < inf, "mask threshold must be positive and finite.")
        require(1 <= self.guidance < inf, "mask guidance must be at least 1.")


@dataclass(frozen=True)
class DiffEditConfig:
    """DiffEdit (Couairon et al., ICLR 2023).

    Attributes:
        steps: number of DDIM steps from pure noise to an image; `strength` is the share of them
            that is used.
        strength: how far the image is inverted towards noise, above 0 and up to 1.
        guidance: classifier-free guidance scale of the denoising; 1 is the prompt alone.
        mask: where the image is edited.
    """

    steps: int = 50
    strength: float = 0.8
    guidance: float = 7.5
    mask: MaskConfig = MaskConfig(maps=10, soft=False, guidance=7.5)

    def __post_init__(self) -> None:
        _require_steps(self.steps, self.strength, self.guidance)


@dataclass(frozen=True)
class InversionConfig:
    """InversionEditor: one DDIM inversion per image, denoised once per concept.

    Attributes:
        concepts: number K of concepts; each anomaly gets one counterfactual per concept.
        steps: number of DDIM steps from pure noise to an image; `strength` is the share of them
            that is used.
        strength: how far the image is inverted towards noise, above 0 and up to 1.
        guidance: classifier-free guidance scale of the denoising, from the source prompt to the
            prompt; 1 is the prompt alone.
        mix: share ρ of fresh noise that is mixed into the inverted latents of every further concept
            with the same prompt.
        repulsion: how far concepts with the same prompt are pushed apart in each step, in standard
            deviations of a latent.
        detector_guidance: how far each step follows the gradient of the detector, in standard
            deviations of a latent.
        attempts: largest number of attempts for an image with an edit that the detector still
            flags; each attempt starts from more noise and edits a larger mask.
        mask: where the image is edited.
    """

    concepts: int = 4
    steps: int = 10
    strength: float = 0.9
    guidance: float = 4.5
    mix: float = 0.4
    repulsion: float = 0.02
    detector_guidance: float = 0.0
    attempts: int = 2
    mask: MaskConfig = MaskConfig(strength=0.6, threshold=1.1)

    def bolder(self) -> InversionConfig:
        """Options of the next attempt: more noise, and half the threshold of the mask."""
        return replace(
            self,
            strength=min(1.0, self.strength + _BOLDER),
            mask=replace(self.mask, threshold=self.mask.threshold / 2),
        )

    def __post_init__(self) -> None:
        _require_steps(self.steps, self.strength, self.guidance)
        require(self.concepts >= 1, "concepts must be at least 1.")
        require(self.attempts >= 1, "attempts must be at least 1.")
        require(0 <= self.mix <= 1, "mix must lie between 0 and 1.")
        for name in ("repulsion", "detector_guidance"):
            require(0 <= getattr(self, name) < inf, f"{name} must be 0 or positive and finite.")


def _require_steps(steps: int, strength: float, guidance: float) -> None:
    require(2 <= steps <= 1000, "steps must lie between 2 and 1000.")
    require(0 < strength <= 1, "strength must be above 0 and at most 1.")
    require(1 <= guidance < inf, "guidance must be at least 1.")


@dataclass(frozen=True)
class LatentWeights:
    """Weights λ of the terms of the objective in latent space; 0 switches a term off.

    Attributes:
        gan: weight of realism: the discriminator takes the decoded images for real ones.
        score: weight of the distance between the score of the decoded image and its target.
        reconstruction: weight of keeping the output of DiffEdit if its score is to stay.
        cycle: weight of the cycle: editing back must give back the output of DiffEdit.
        concept: weight of recognition: the concept classifier names the concept from the pixels.
        diversity: weight of a hinge loss that keeps the pixels of two concepts apart.
        minimality: weight of the distance between the latents before and after the edit.
    """

    gan: float = 0.3
    score: float = 1.0
    reconstruction: float = 5.0
    cycle: float = 2.0
    concept: float = 1.0
    diversity: float = 30.0
    minimality: float = 0.3

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            require(0 <= value < inf, f"weight {name} must be 0 or positive and finite.")


@dataclass(frozen=True)
class LatentConfig:
    """How the latent generator G′ is trained on top of DiffEdit.

    Attributes:
        concepts: number K of concepts; each anomaly gets one counterfactual per concept.
        steps: optimizer steps.
        batch_size: images per step; each is edited once per concept.
        learning_rate: peak learning rate.
        ema: decay of the moving average of the weights; the averaged weights make the
            counterfactuals.
        width: channels of the generator at the full resolution of the latents.
        discriminator_width: channels of the first stage of the discriminator.
        weights: weights of the terms of the objective.
        diversity_margin: mean absolute pixel difference that two concepts must have, measured at
            half the resolution.
        concept_noise: standard deviation of the noise that is added to the pixels that the concept
            classifier reads.
        moved_share: share of outliers in a batch.
        images: largest number of normal images, and of outliers, to train on; each has to go
            through DiffEdit once.
        checkpoint_every: steps between two checkpoints.
        diffedit: options of DiffEdit, whose output the generator edits.
    """

    concepts: int = 4
    steps: int = 600
    batch_size: int = 8
    learning_rate: float = 1e-3
    ema: float = 0.995
    width: int = 64
    discriminator_width: int = 32
    weights: LatentWeights = LatentWeights()
    diversity_margin: float = 0.03
    concept_noise: float = 0.1
    moved_share: float = 0.75
    images: int = 300
    checkpoint_every: int = 250
    diffedit: DiffEditConfig = DiffEditConfig(
        steps=10, strength=0.9, guidance=3.5, mask=MaskConfig(strength=0.6, maps=2, threshold=1.0)
    )

    def __post_init__(self) -> None:
        for name in ("concepts", "steps", "batch_size", "width", "images", "checkpoint_every"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1.")
        for name in ("diversity_margin", "concept_noise"):
            require(0 <= getattr(self, name) < inf, f"{name} must be 0 or positive and finite.")
        require(0 < self.learning_rate < inf, "learning_rate must be positive and finite.")
        require(0 <= self.ema < 1, "ema must be at least 0 and less than 1.")
        require(0 <= self.moved_share <= 1, "moved_share must lie between 0 and 1.")


@dataclass(frozen=True)
class DiffusionConfig:
    """Options of the editors that use a diffusion model; --generator chooses one.

    Attributes:
        inversion: one DDIM inversion per image, denoised once per concept; trains nothing.
        diffedit: DiffEdit; trains nothing.
        latent: a generator that is trained on top of DiffEdit.
    """

    inversion: InversionConfig = field(default_factory=InversionConfig)
    diffedit: DiffEditConfig = field(default_factory=DiffEditConfig)
    latent: LatentConfig = field(default_factory=LatentConfig)

    def for_prompts(self, prompts: Sequence[str]) -> DiffusionConfig:
        """With as many concepts of "inversion" as there are prompts, unless chosen otherwise."""
        if len(prompts) < 2 or self.inversion.concepts != InversionConfig().concepts:
            return self
        return replace(self, inversion=replace(self.inversion, concepts=len(prompts)))


MethodConfig = InversionConfig | DiffEditConfig | LatentConfig
_METHODS: Mapping[str, type[MethodConfig]] = {
    "inversion": InversionConfig,
    "diffedit": DiffEditConfig,
    "latent": LatentConfig,
}


def diffusion_config(saved: Mapping[str, Any]) -> DiffusionConfig:
    """DiffusionConfig from the JSON of `asdict`."""
    methods: Any = {name: method_config(name, saved[name]) for name in saved}
    return DiffusionConfig(**methods)


def method_config(method: str, saved: Mapping[str, Any]) -> MethodConfig:
    """The options of one method from the JSON of `asdict`.

    Raises:
        TypeError: a setting is missing or unknown.
        KeyError: there is no such method.
    """
    config: MethodConfig = _from_saved(_METHODS[method], saved)
    return config


def _from_saved(kind: Any, saved: Mapping[str, Any]) -> Any:
    """A configuration, with those nested in it, from a complete record of its fields.

    A missing field gets no default, since the default could give other edits than before.
    """
    missing = [field.name for field in fields(kind) if field.name not in saved]
    if missing:
        raise TypeError(f"the settings of {kind.__name__} lack {', '.join(missing)}")
    groups = {
        field.name: _from_saved(type(field.default), saved[field.name])
        for field in fields(kind)
        if is_dataclass(field.default)
    }
    return kind(**{**saved, **groups})
