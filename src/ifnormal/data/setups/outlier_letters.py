"""Letters as outliers for digits: handwritten ones if available, else rendered ones."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.data.sampling import generator, stratified
from ifnormal.data.sources.decoded_cache import cached
from ifnormal.data.sources.labelled import LabelledImages
from ifnormal.data.sources.letters import rendered_letters
from ifnormal.data.sources.lookalikes import is_stroke, letters_like
from ifnormal.data.sources.parquet import ParquetImages
from ifnormal.data.sources.strokes import font_names

_HELD_OUT = 0.1
_EMNIST = "emnist_letters"
_SETS = {_EMNIST: "EMNIST letters", "omniglot_small": "Omniglot characters"}  # the best first
_FOR_JUDGE = 2000
_LEAST_FOR_JUDGE = 500


def outlier_letters(
    data_root: Path | None, count: int, held_out: int, unlike: Collection[int], seed: int
) -> tuple[LabelledImages, LabelledImages, str]:
    """Find grey letters that do not look like the normal digits.

    EMNIST, or else Omniglot, gives all its letters regardless of the counts; every tenth is held
    out, the same ones for every seed. Without either, `count` and `held_out` letters are rendered.
    It is not known which characters of Omniglot look like a digit: only plain strokes are left out
    if digit one is normal.

    Args:
        data_root: folder that may hold the Parquet set `emnist_letters` or `omniglot_small`.
        count: letters to train with.
        held_out: letters to hold out.
        unlike: the digits that no letter may look like.
        seed: of the rendered letters.

    Returns:
        Letters to train with, letters held out, (N, 1, 28, 28) each, and the name of their source.

    Raises:
        UserError: the set of letters is damaged or has no suitable letters.
    """
    folder = _letter_set(data_root)
    if folder is None:
        train = rendered_letters(count, seed, unlike)
        held = rendered_letters(held_out, seed, unlike, purpose="validation")
        source = f"letters rendered with {', '.join(font_names())}"
        return train, held, source
    letters = _unlike(folder, unlike)
    if len(letters) < 2:
        digits = " or ".join(map(str, sorted(unlike)))
        raise UserError(
            f"{folder} has no letters that are unlike digit {digits}; "
            f"put all of {_SETS[folder.name]} there or leave it out."
        )
    held_indices, rest = stratified(
        letters.labels, round(_HELD_OUT * len(letters)), generator(0, "held-out letters")
    )
    return letters.take(rest), letters.take(held_indices), _SETS[folder.name]


def judge_letters(data_root: Path | None) -> Tensor:
    """Letters unlike any digit. They depend neither on a seed nor on what is normal.

    Returns:
        (N, 1, 28, 28) uint8; rendered ones if the set has too few.

    Raises:
        UserError: the set of letters is damaged.
    """
    folder = _letter_set(data_root)
    if folder is not None and len(letters := _unlike(folder, range(10))) >= _LEAST_FOR_JUDGE:
        return letters.images
    return _rendered_for_judge()


@cache
def _rendered_for_judge() -> Tensor:
    return rendered_letters(_FOR_JUDGE, 0, range(10), purpose="judge").images


def _letter_set(data_root: Path | None) -> Path | None:
    """The folder of the best available set of letters."""
    if data_root is None:
        return None
    return next((data_root / name for name in _SETS if (data_root / name).is_dir()), None)


def _unlike(folder: Path, digits: Collection[int]) -> LabelledImages:
    """The letters of a set that look like none of the digits, as far as is known."""
    letters = cached(ParquetImages(folder, channels=1).scan("train")).read()
    if folder.name == _EMNIST:
        alike = {letter.upper() for letter in letters_like(digits)}
        keep = torch.tensor([name.upper() not in alike for name in letters.class_names])
        letters = letters.take(keep[letters.labels])
    return letters.take(~is_stroke(letters.images)) if 1 in digits else letters
