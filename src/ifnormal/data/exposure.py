"""Outlier exposure for digits: handwritten letters where there are some, else rendered ones."""

from __future__ import annotations

from pathlib import Path

import torch

from ifnormal.data.images import LabelledImages
from ifnormal.data.letters import rendered_letters
from ifnormal.data.lookalikes import LOOKALIKES, is_stroke
from ifnormal.data.parquet import ParquetImages
from ifnormal.data.sampling import generator, stratified
from ifnormal.data.strokes import font_names
from ifnormal.errors import UserError

_HELD_OUT = 0.1


def outlier_letters(
    data_root: Path | None, count: int, held_out: int, unlike_digit: int, seed: int
) -> tuple[LabelledImages, LabelledImages, str]:
    """Find grey letters that do not look like the normal digit.

    From EMNIST come all the letters there are, whatever the counts, and every tenth is held out:
    the same ones for every seed. Without EMNIST the letters are rendered, as many as asked for.

    Args:
        data_root: folder that may have a Parquet set `emnist_letters`.
        count: letters to train with.
        held_out: letters to hold out.
        unlike_digit: the digit that no letter may look like.
        seed: decides the rendered letters.

    Returns:
        Letters to train with, letters held out, (N, 1, 28, 28) each, and where they are from.

    Raises:
        UserError: the EMNIST set is damaged or has no letters to offer.
    """
    folder = data_root / "emnist_letters" if data_root else None
    if folder is None or not folder.is_dir():
        train = rendered_letters(count, seed, unlike_digit)
        held = rendered_letters(held_out, seed, unlike_digit, purpose="validation")
        source = f"letters rendered with {', '.join(font_names())}"
        return train, held, source
    letters = ParquetImages(folder, channels=1).read("train")
    unlike = set(LOOKALIKES[unlike_digit].upper())
    keep = torch.tensor([name.upper() not in unlike for name in letters.class_names])
    letters = letters.take(keep[letters.labels])
    if unlike_digit == 1:
        letters = letters.take(~is_stroke(letters.images))
    if len(letters) < 2:
        raise UserError(
            f"{folder} has no letters that are unlike digit {unlike_digit}; "
            "put all of EMNIST there or leave it out."
        )
    held_indices, rest = stratified(
        letters.labels, round(_HELD_OUT * len(letters)), generator(0, "held-out letters")
    )
    return letters.take(rest), letters.take(held_indices), "EMNIST letters"
