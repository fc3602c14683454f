"""Detectors: how a built-in one is trained, and what a user's own does to an image first."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, Literal

from ifnormal.config.checks import require, require_choices

Objective = Literal["bce", "hsc", "dsvdd", "fcdd"]


@dataclass(frozen=True)
class DetectorConfig:
    """How a detector is trained.

    Attributes:
        objective: "bce", "hsc" and "fcdd" use outlier exposure, "dsvdd" only normal images;
            "fcdd" makes heatmaps.
        steps: optimizer steps.
        batch_size: images a step, half normal and half outliers where these are used.
        learning_rate: peak of the one-cycle schedule.
        false_alarm_rate: share of held-out normal images above the decision threshold.
        network: "plain" for drawings and whatever is seen from close by, "residual" for small
            photographs of things; "auto" takes what the setup is of. "dsvdd", which must do without
            what a normalisation adds, is always plain, and "fcdd" has a network of its own.
        width: channels of the first stage; the later ones have 2x and 4x as many.
        augment: whether training images are varied in place, size, angle, brightness and contrast;
            "auto" is below 2,000 normal images. None of it may make an anomaly of a normal image.
        flip: mirror varied images, and all for the residual network, where a mirrored one is as
            normal.
        turn: up to so many degrees in either direction; 180 where any orientation is normal.
        resize: larger or smaller by up to this share.
        brightness: brighter or darker, with more or less contrast, by up to this share.
        confetti: share of the outliers that are normal images with confetti thrown on them, new
            in every step; "fcdd" is told which pixels that changed.
    """

    objective: Objective = "bce"
    steps: int = 800
    batch_size: int = 128
    learning_rate: float = 2e-3
    false_alarm_rate: float = 0.05
    network: Literal["auto", "plain", "residual"] = "auto"
    width: int = 32
    augment: Literal["auto", "on", "off"] = "auto"
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    turn: float = 4.0
    resize: float = 0.03
    brightness: float = 0.05
    confetti: float = 0.0

    def __post_init__(self) -> None:
        require_choices(self)
        require(0 <= self.turn <= 180, "detector turn must lie between 0 and 180 degrees.")
        for name in ("resize", "brightness"):
            require(0 <= getattr(self, name) < 1, f"detector {name} must lie between 0 and 1.")
        require(0 <= self.confetti <= 1, "detector confetti must lie between 0 and 1.")
        require(self.steps >= 1, "detector steps must be at least 1.")
        require(self.batch_size >= 2, "detector batch_size must be at least 2.")
        require(0 < self.false_alarm_rate < 1, "false_alarm_rate must lie between 0 and 1.")
        require(0 < self.learning_rate < inf, "detector learning_rate must be positive and finite.")
        require(self.width >= 1, "detector width must be at least 1.")


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
        require(self.channels in (None, 1, 3), "preprocessing channels must be 1 or 3.")
        for name in ("size", "crop"):
            sides = getattr(self, name)
            require(
                sides is None or (len(sides) == 2 and min(sides) >= 1),
                f"preprocessing {name} must be a height and a width of at least 1.",
            )
        require(-inf < self.low < self.high < inf, "preprocessing low must be less than its high.")
        for name in ("mean", "std"):
            values = getattr(self, name)
            require(
                values is None or (len(values) in (1, 3) and all(-inf < v < inf for v in values)),
                f"preprocessing {name} must be 1 or 3 finite numbers.",
            )
        require(
            self.std is None or min(self.std) > 0, "preprocessing std must be positive numbers."
        )


def preprocessing_config(saved: dict[str, Any]) -> Preprocessing:
    """Preprocessing from the JSON of `asdict`, where tuples have become lists."""
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()
    }
    return Preprocessing(**fields)
