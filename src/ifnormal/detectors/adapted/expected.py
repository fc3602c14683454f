"""Expected scores: what the user's own program gives images, compared with the detector's."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.data.files.image_input import Shape, natural_shape
from ifnormal.data.files.reading import read_good_images
from ifnormal.detectors.adapted.detector import AdaptedDetector

_OF_SPREAD, _OF_SIZE = 0.05, 1e-3
_COMPARED = 64  # images in full size, at most
_CAUSES = (
    "the usual causes are another interpolation on resizing, another mean and std, RGB against "
    "BGR, a value range of 0..255 against 0..1, or images edited smaller than the model takes them"
)


def read_expected(path: Path) -> dict[str, float]:
    """Read a CSV file of two columns, path and score; a line of headings is skipped.

    Returns:
        Score by path, with forward slashes, in the file's order.

    Raises:
        UserError: the file is missing, or a line is not a path and a finite number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path} cannot be read ({reason}); name a CSV file of path,score."
        ) from None
    found: dict[str, float] = {}
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        if not row or not any(cell.strip() for cell in row):
            continue
        score = _number(row[1]) if len(row) >= 2 else None
        if score is None and number == 1 and len(row) >= 2:
            continue  # headings
        if score is None:
            raise UserError(
                f"{path}, line {number}, is not a path and a finite score: {','.join(row)[:80]!r}; "
                "write one image a line as path,score."
            )
        found[row[0].strip().replace("\\", "/")] = score
    if not found:
        raise UserError(f"{path} holds no scores; write one image a line as path,score.")
    return found


def match_expected(expected: Mapping[str, float], names: Sequence[str]) -> dict[int, float]:
    """Expected scores by the position of their image among `names`.

    A path matches a name if one of them ends with all parts of the other. Paths that match nothing
    are matched by file name alone, if only one path and one name have it.
    """
    parts = [PurePosixPath(name.replace("\\", "/")).parts for name in names]
    by_file: dict[str, list[str]] = {}
    for path in expected:
        by_file.setdefault(PurePosixPath(path).name, []).append(path)
    found: dict[int, str] = {}
    for place, name in enumerate(parts):
        ends = [path for path in by_file.get(name[-1], []) if _is_end(path, name)]
        if len(ends) == 1:
            found[place] = ends[0]
    used = set(found.values())
    left = Counter(name[-1] for place, name in enumerate(parts) if place not in found)
    for place, name in enumerate(parts):
        others = [path for path in by_file.get(name[-1], []) if path not in used]
        if place not in found and len(others) == 1 and left[name[-1]] == 1:
            found[place] = others[0]
    return {place: expected[found[place]] for place in sorted(found)}


def check_expected(
    scores: Tensor, names: Sequence[str], expected: Mapping[str, float], detector: str
) -> dict[str, Any]:
    """Compare the detector's own scores (N,) of images with the user's.

    Returns:
        JSON facts: number of images compared, largest and mean difference, tolerance, correlation.

    Raises:
        UserError: no image that could be scored has an expected score, or scores differ by more
            than 5 % of the spread of the expected ones.
    """
    matched = match_expected(expected, names)
    if not matched:
        raise UserError(
            f"None of the {len(expected)} expected scores is for one of the {len(names)} images; "
            f"the first are {next(iter(expected))} and {names[0] if names else 'none'}: use the "
            "paths or the names of the same files."
        )
    places = list(matched)
    if places[-1] >= len(scores):
        raise UserError(
            f"None of the {len(expected)} expected scores is for an image that can be read; "
            f"restore {names[places[-1]]}, or give the scores of other images."
        )
    wanted = torch.tensor([matched[place] for place in places], dtype=torch.float64)
    got = scores.double().cpu()[places]
    spread = float(wanted.max() - wanted.min())
    tolerance = _OF_SPREAD * spread + _OF_SIZE * float(wanted.abs().max())
    difference = (got - wanted).abs()
    worst, correlation = int(difference.argmax()), _correlation(got, wanted)
    if float(difference.max()) > tolerance:
        share = float((difference <= tolerance).double().mean())
        raise UserError(
            f"{detector} scores {names[places[worst]]} {float(got[worst]):.6g}, but "
            f"{float(wanted[worst]):.6g} is expected; {share:.0%} of {len(places)} images are "
            f"within {tolerance:.3g}, and the correlation is {correlation:.3f}: {_CAUSES}."
        )
    return {
        "images": len(places),
        "largest": float(difference.max()),
        "mean": float(difference.mean()),
        "tolerance": tolerance,
        "correlation": correlation,
    }


def compare_with_expected(
    detector: AdaptedDetector, edited: Shape, scores: Path, files: Sequence[Path]
) -> AdaptedDetector:
    """Compare the detector's scores of whole images with those that the user's own program gives.

    Images are explained at the size at which they are edited, so how far the scores at that size
    are from those of the whole images is noted as well.

    Args:
        detector: not calibrated yet; compared at the size of each image.
        edited: (C, H, W) of the images that are edited.
        scores: CSV file of expected scores; see `read_expected`.
        files: images, of which up to 64 are compared.

    Returns:
        The same detector with what was found among its `checks`, as "expected".

    Raises:
        UserError: there are no scores of these files, or they differ; says by how much.
    """
    expected = read_expected(scores)
    names = [file.as_posix() for file in files]
    matched = list(match_expected(expected, names))[:_COMPARED]
    nothing = torch.zeros(0, dtype=torch.float64)
    whole, small, known = [nothing], [nothing], []
    for place in matched:
        natural = (detector.shape[0], *natural_shape([files[place]])[1:])
        read = read_good_images([files[place]], natural), read_good_images([files[place]], edited)
        if all(map(len, read)):
            for own, images in zip((whole, small), read, strict=True):
                at = detector.at((images.images.shape[1], *images.images.shape[2:]))
                own.append(at.own(to_float(images.images)).detach().double())
            known.append(names[place])
    found = known or [names[place] for place in matched] or names[:1]
    facts = check_expected(torch.cat(whole), found, expected, detector.model.spec)
    difference = (torch.cat(small) - torch.cat(whole)).abs()
    return detector.with_checks(
        expected={
            **facts,
            "edited_at": list(edited[1:]),
            "largest_there": float(difference.max()),
            "mean_there": float(difference.mean()),
        }
    )


def _is_end(path: str, name: tuple[str, ...]) -> bool:
    """Whether one of the two paths ends with all parts of the other."""
    parts = PurePosixPath(path).parts
    shorter = min(len(parts), len(name))
    return parts[-shorter:] == name[-shorter:]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _correlation(first: Tensor, second: Tensor) -> float:
    """Pearson's; 0 where either does not vary."""
    first, second = first - first.mean(), second - second.mean()
    size = float(first.norm() * second.norm())
    return float(first @ second) / size if size > 0 else 0.0
