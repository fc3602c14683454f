"""How many images of a folder of normal images do not look normal, and which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ifnormal.data.files.reading import ReadImages, read_good_images
from ifnormal.detectors.builtin.cross_fitting import FOLDS, KINDS, cross_fitted_scores
from ifnormal.evaluation.contamination import (
    LEAST_IMAGES,
    Contamination,
    estimate_contamination,
    known_contamination,
    require_enough,
)
from ifnormal.report.contamination import contamination_sentences
from ifnormal.report.picture import THUMBNAIL_SIDE, image_uri

# Further images would make the estimate hardly better, and take their time and memory.
MOST_IMAGES = 2000
STEPS = FOLDS * len(KINDS)

_SHOWN = 24
_SHAPE = (3, 224, 224)  # what the network of the detectors sees


def look_for_suspects(
    files: Sequence[Path], report: Callable[[int], None] = lambda done: None
) -> dict[str, Any]:
    """`contamination_facts` of image files, whatever their sizes; unreadable ones are left out.

    Raises:
        UserError: see `contamination_facts`.
    """
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(0))
    drawn = [files[row] for row in order[:MOST_IMAGES].sort().values.tolist()]
    facts = contamination_facts(read_good_images(drawn, _SHAPE), report=report)
    return {**facts, "images": len(files)}


def contamination_facts(
    read: ReadImages,
    contamination: Literal["auto"] | float = "auto",
    seed: int = 0,
    report: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """How many of the images do not look normal, and which; JSON-compatible.

    Of more than 2,000 images, as many are drawn. The first 24 suspects have a thumbnail.

    Args:
        read: images that were given as normal, at least 20.
        contamination: the share that is anomalous, where it is known; "auto" estimates it.
        seed: of the draw and the folds.
        report: called with the number of the `STEPS` that are done.

    Raises:
        UserError: see `cross_fitted_scores` and `estimate_contamination`.
    """
    require_enough(len(read))
    order = torch.randperm(len(read), generator=torch.Generator().manual_seed(seed))
    rows = order[:MOST_IMAGES].sort().values
    scores = cross_fitted_scores(read.images[rows], seed, report=report)
    if contamination == "auto":
        found = estimate_contamination(scores.numpy())
    else:
        found = known_contamination(scores.numpy(), contamination)
    return {
        "images": len(read),
        "looked_at": len(rows),
        "detectors": list(KINDS),
        "share": found.share,
        "low": found.low,
        "high": found.high,
        "suspects": _suspects(found, read, rows.tolist()),
    }


def without_suspects(
    read: ReadImages,
    contamination: Literal["auto"] | float,
    seed: int,
    tell: Callable[[str], None],
) -> tuple[Tensor, dict[str, Any]]:
    """The images without those that do not look normal, and the facts about them.

    An estimate is acted on where a clean folder is unlikely: its interval must not begin at 0. A
    share that the user knows is always left out.

    Args:
        read: images that were given as normal.
        contamination: see `contamination_facts`.
        seed: see `contamination_facts`.
        tell: takes a sentence about what was found and done.

    Returns:
        The images (N, C, H, W) uint8 that are left, and `{"contamination": ...}`; no facts where
        there was nothing to do or too few images.

    Raises:
        UserError: see `contamination_facts`.
    """
    if contamination == 0:
        return read.images, {}
    if len(read) < LEAST_IMAGES:
        tell(
            f"Whether the {len(read)} normal images are normal was not checked; that takes at "
            f"least {LEAST_IMAGES} images."
        )
        return read.images, {}
    facts = contamination_facts(read, contamination, seed)
    facts["left_out"] = len(facts["suspects"]) if facts["low"] > 0 else 0
    for sentence in contamination_sentences(facts):
        tell(sentence)
    if not facts["left_out"]:
        return read.images, {"contamination": facts}
    suspects = {suspect["path"] for suspect in facts["suspects"]}
    kept = [row for row, name in enumerate(read.names) if name not in suspects]
    return read.images[kept], {"contamination": facts}


def _suspects(found: Contamination, read: ReadImages, rows: Sequence[int]) -> list[dict[str, Any]]:
    """The suspects with their names, the most anomalous first; the first ones with a picture."""
    suspects = []
    for number, place in enumerate(found.suspects):
        row = rows[place]
        suspect: dict[str, Any] = {
            "path": read.names[row],
            "probability": round(found.probabilities[place], 3),
        }
        if number < _SHOWN:
            pixels = read.images[row].expand(3, -1, -1).permute(1, 2, 0).numpy()
            suspect["picture"] = image_uri(pixels, THUMBNAIL_SIDE)
        suspects.append(suspect)
    return suspects
