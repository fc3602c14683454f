"""How images are edited in the latent space of a diffusion model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from math import inf
from typing import Any

from ifnormal.config.checks import require

_BOLDER = 0.1


@dataclass(frozen=True)
class MaskConfig:
    """Where an image is edited: where two prompts see different noise in it.

    Attributes:
        strength: how far the image is noised for it, from 0, clean, to 1.
        maps: noises it is averaged over.
        threshold: places that differ more than so many times half the image's mean are edited;
            of a soft mask, those that differ by that many times the mean are edited wholly.
        soft: whether places in between are edited in part.
        guidance: how far the prompts are followed for it; 1 is the prompt alone.
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
        steps: of the whole way from noise to image; `strength` of them are gone.
        strength: how far the image is inverted towards noise.
        guidance: how far the prompt is followed on the way back; 1 is the prompt alone.
        mask: where the image is edited.
    """

    steps: int = 50
    strength: float = 0.8
    guidance: float = 7.5
    mask: MaskConfig = MaskConfig(maps=10, soft=False, guidance=7.5)

    def __post_init__(self) -> None:
        _require_way(self.steps, self.strength, self.guidance)


@dataclass(frozen=True)
class InversionConfig:
    """InversionEditor: one inversion an image, K ways back.

    Attributes:
        concepts: K, in how many different ways each image is edited.
        steps: of the whole way from noise to image; `strength` of them are gone.
        strength: how far the image is inverted towards noise.
        guidance: how far the prompt is followed on the way back, away from the word for what there
            is; 1 is the prompt alone.
        mix: ρ, the share of fresh noise in what a way starts from whose prompt another has, too.
        repulsion: how far ways of the same prompt are kept apart, in deviations of a latent a step.
        detector_guidance: how far each step follows the detector's gradient, in the same unit.
        attempts: how often an image is edited as long as the detector flags an edit of it, each
            time further towards noise and in a larger mask.
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
        """For another attempt: further towards noise, in a mask of half the threshold."""
        return replace(
            self,
            strength=min(1.0, self.strength + _BOLDER),
            mask=replace(self.mask, threshold=self.mask.threshold / 2),
        )

    def __post_init__(self) -> None:
        _require_way(self.steps, self.strength, self.guidance)
        require(self.concepts >= 1, "concepts must be at least 1.")
        require(self.attempts >= 1, "attempts must be at least 1.")
        require(0 <= self.mix <= 1, "mix must lie between 0 and 1.")
        for name in ("repulsion", "detector_guidance"):
            require(0 <= getattr(self, name) < inf, f"{name} must be 0 or positive and finite.")


def _require_way(steps: int, strength: float, guidance: float) -> None:
    require(2 <= steps <= 1000, "steps must lie between 2 and 1000.")
    require(0 < strength <= 1, "strength must be above 0 and at most 1.")
    require(1 <= guidance < inf, "guidance must be at least 1.")


@dataclass(frozen=True)
class LatentWeights:
    """λ of the terms of the objective in latent space.

    Attributes:
        gan: of the discriminator's verdict.
        score: λ_φ, of the detector's score of the decoded image.
        reconstruction: λ_rec, of keeping what DiffEdit made where the score is asked to stay.
        cycle: of coming back to it.
        concept: λ_r, of being recognised as one's concept, in pixels.
        diversity: of two concepts being the same image, in pixels.
        minimality: of each change of the latents.
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
        concepts: K, in how many different ways each image is edited.
        steps: optimizer steps.
        batch_size: images a step; each is edited in every concept.
        learning_rate: its peak.
        ema: decay of the averaged weights, the ones that edit.
        width: channels of the generator's fine stage.
        discriminator_width: channels of the discriminator's first stage.
        weights: of the terms of the objective.
        diversity_margin: mean absolute difference, in pixels of half the resolution, that two
            concepts must have.
        concept_noise: deviation of the noise on the pixels that the concept classifier reads.
        moved_share: share of outliers in a batch.
        images: at most so many normal images and so many outliers are trained with, since each goes
            through DiffEdit before.
        checkpoint_every: steps between checkpoints.
        diffedit: what it starts from.
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
    """The generators that edit in the latent space of a diffusion model; `generator` names one.

    Attributes:
        inversion: one inversion an image, K ways back; trains nothing.
        diffedit: DiffEdit; trains nothing.
        latent: a generator that is trained on top of DiffEdit.
    """

    inversion: InversionConfig = field(default_factory=InversionConfig)
    diffedit: DiffEditConfig = field(default_factory=DiffEditConfig)
    latent: LatentConfig = field(default_factory=LatentConfig)


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
    """The configuration of one method from the JSON of `asdict`.

    Raises:
        TypeError: a setting is missing or unknown.
        KeyError: there is no such method.
    """
    config: MethodConfig = _whole(_METHODS[method], saved)
    return config


def _whole(kind: Any, saved: Mapping[str, Any]) -> Any:
    """A configuration, and those in it, of which every field was saved.

    A field that came later is not filled in: its default could edit differently than before.
    """
    missing = [field.name for field in fields(kind) if field.name not in saved]
    if missing:
        raise TypeError(f"the settings of {kind.__name__} lack {', '.join(missing)}")
    groups = {
        field.name: _whole(type(field.default), saved[field.name])
        for field in fields(kind)
        if is_dataclass(field.default)
    }
    return kind(**{**saved, **groups})
