"""Options of a user's model: what is done to an image before the model scores it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, Literal

from ifnormal.config.checks import require


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before a user's model scores it, in this order.

    Images are edited and shown without it.

    Attributes:
        channels: 1 converts images to grey, 3 repeats a grey channel; None keeps the channels.
        bgr: whether the model takes the channels as blue, green, red.
        size: [HEIGHT,WIDTH] that the whole image is scaled to, bilinear with antialiasing.
        crop: [HEIGHT,WIDTH] that is cut out of the centre.
        low: value that the model takes for black.
        high: value that the model takes for white, such as 255.
        mean: value to subtract, after the scaling to low and high: one number, or one per channel.
        std: value to divide by, after the subtraction: one number, or one per channel.
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
