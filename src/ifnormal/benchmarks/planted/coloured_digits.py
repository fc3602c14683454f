"""Coloured digits that are normal by their colour alone, by their shape alone, or by either.

Colours and digits are drawn independently, so only the planted attribute tells normal from
anomalous images. Outlier exposure has the distribution of the anomalies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ifnormal.benchmarks.planted.material import (
    TEST_ANOMALIES,
    Planted,
    digit_drawings,
    first,
)
from ifnormal.data.sampling import generator
from ifnormal.data.setups.colored_mnist import COLOR_NAMES, colorize
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.sources.digits import DIGITS
from ifnormal.data.sources.labelled import LabelledImages

Reason = Literal["colour", "shape", "either"]

NORMAL_DIGIT = 1
NORMAL_COLOR = COLOR_NAMES.index("cyan")
_WORDS = {
    "colour": "any digit in cyan",
    "shape": "digit 1 in any colour",
    "either": "digit 1 in any colour, or any digit in cyan",
}
# Enough images to learn two attributes from.
_TRAIN, _HELD_OUT, _JUDGE = 24_000, 2_000, 30_000


def coloured_digits(reason: Reason, data_root: Path | None, seed: int) -> Planted:
    """Digits in random colours of which those with the planted attribute are normal.

    Args:
        reason: "colour" is cyan, "shape" is the digit one.
        data_root: folder that may have MNIST.
        seed: decides colours and choices.
    """
    parts = digit_drawings(data_root)
    train = _painted(parts.train, reason, _TRAIN, seed, "train")
    validation = _painted(parts.validation, reason, _HELD_OUT, seed, "validation")
    test = _painted(parts.test, reason, 2 * _HELD_OUT, seed, "test")
    shown = first(TEST_ANOMALIES, len(test.anomalies), seed, "planted test")
    held = first(TEST_ANOMALIES, len(validation.anomalies), seed, "planted held")
    digits, colors = test.attributes["digit"][shown], test.attributes["color"][shown]
    judge = first(_JUDGE, len(parts.train), 0, "planted judge")
    painted = torch.randint(len(COLOR_NAMES), judge.shape, generator=generator(0, "judge colours"))
    setup = AnomalySetup(
        name=f"planted/{reason}",
        normal=_WORDS[reason],
        train_normal=train.normal,
        validation_normal=validation.normal,
        validation_anomalies=validation.anomalies[held],
        test_normal=test.normal,
        test_anomalies=test.anomalies[shown],
        outliers=train.anomalies,
        validation_outliers=validation.anomalies,
        attributes={
            "validation_anomalies": {k: v[held] for k, v in validation.attributes.items()},
            "test_anomalies": {"digit": digits, "color": colors},
        },
        attribute_names={"digit": DIGITS, "color": COLOR_NAMES},
        judge_images=colorize(parts.train.images[judge], painted),
        judge_attributes={"digit": parts.train.labels[judge], "color": painted},
        normal_attributes=_normal_attributes(reason),
        facts={"source": parts.source, "outlier_source": "other digits or colours"},
    )
    ideal = None
    if reason == "colour":
        drawings = test.drawings[shown]
        ideal = colorize(drawings, torch.full((len(drawings),), NORMAL_COLOR))
    return Planted(setup, ideal)


def _normal_attributes(reason: Reason) -> dict[str, tuple[int, ...]]:
    digit: dict[str, tuple[int, ...]] = {"digit": (NORMAL_DIGIT,)}
    color: dict[str, tuple[int, ...]] = {"color": (NORMAL_COLOR,)}
    return {"colour": color, "shape": digit, "either": digit | color}[reason]


class _Painted:
    """Drawings in random colours, normal and not; (N, 3, 32, 32) uint8 each."""

    def __init__(self, drawings: LabelledImages, colors: Tensor, normal: Tensor) -> None:
        self.normal = colorize(drawings.images[normal], colors[normal])
        self.drawings = drawings.images[~normal]
        self.attributes = {"digit": drawings.labels[~normal], "color": colors[~normal]}
        self.anomalies = colorize(self.drawings, colors[~normal])


def _painted(
    drawings: LabelledImages, reason: Reason, count: int, seed: int, purpose: str
) -> _Painted:
    """About `count` images, half of them normal; each drawing is equally frequent."""
    rng = generator(seed, f"planted {reason} {purpose}")
    chosen = drawings.take(torch.randint(len(drawings), (count,), generator=rng))
    colors = torch.randint(len(COLOR_NAMES), (count,), generator=rng)
    # More of the normal colour and digit than by chance, so that about half are normal.
    more = 0.2 if reason == "either" else 0.5
    if reason != "shape":
        colors[torch.rand(count, generator=rng) < more] = NORMAL_COLOR
    if reason != "colour":
        ones = (drawings.labels == NORMAL_DIGIT).nonzero().flatten()
        place = (torch.rand(count, generator=rng) < more).nonzero().flatten()
        again = ones[torch.randint(len(ones), place.shape, generator=rng)]
        chosen.images[place], chosen.labels[place] = drawings.images[again], NORMAL_DIGIT
    is_cyan, is_one = colors == NORMAL_COLOR, chosen.labels == NORMAL_DIGIT
    normal = {"colour": is_cyan, "shape": is_one, "either": is_cyan | is_one}[reason]
    return _Painted(chosen, colors, normal)
