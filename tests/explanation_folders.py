"""Explanation folders for tests of what reads them, in the format of schema version 3."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def save_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """(H, W) grey or (H, W, 3) pixels as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_explanation(
    folder: Path,
    anomalies: NDArray[np.uint8],
    edits: NDArray[np.uint8],
    scores: Sequence[float],
    edit_scores: Sequence[Sequence[float]],
    *,
    names: Sequence[str] | None = None,
    threshold: float = 0.5,
    calibrate: Any = float,
    higher_is: str = "anomalous",
    frames: int = 0,
    ways: int | None = None,
    explain_unflagged: bool = False,
    skipped: Sequence[tuple[str, str]] = (),
    extra: Mapping[int, Mapping[str, Any]] | None = None,
    edit_extra: Mapping[tuple[int, int], Mapping[str, Any]] | None = None,
    head_extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write (N, H, W, C) anomalies and (N, K, H, W, C) edits as an explanation folder.

    Args:
        folder: `explanation.json` and `images/` go here.
        anomalies, edits: pixels.
        scores, edit_scores: N and N rows of K, in the user's own units.
        names: of the images.
        threshold: in the user's own units.
        calibrate: own units to [0, 1].
        higher_is: "anomalous" or "normal".
        frames: T, the frames of a traversal; each is a fade from anomaly to edit.
        ways: how many of the first images have one; all by default.
        explain_unflagged: write counterfactuals of images that are not flagged, too.
        skipped: files that could not be read.
        extra, edit_extra: more entries of an image, or of an edit by (image, concept).
        head_extra: more entries of the document.
    """
    n, k = edits.shape[:2]
    targets = np.linspace(1, 0, frames).tolist()
    images = []
    for i in range(n):
        calibrated = calibrate(scores[i])
        flagged = calibrated > calibrate(threshold)
        image: dict[str, Any] = {
            "path": names[i] if names else f"photos/{i:03d}.png",
            "score": float(scores[i]),
            "calibrated_score": calibrated,
            "flagged": bool(flagged),
            "file": None,
            "counterfactuals": [],
            "second_opinion": [],
        }
        images.append({**image, **(extra or {}).get(i, {})})
        if not flagged and not explain_unflagged:
            continue
        stem = f"images/{i:06d}"
        save_picture(folder / f"{stem}_anomaly.png", anomalies[i])
        images[-1]["file"] = f"{stem}_anomaly.png"
        for c in range(k):
            save_picture(folder / f"{stem}_concept{c}.png", edits[i, c])
            edit: dict[str, Any] = {
                "concept": c,
                "file": f"{stem}_concept{c}.png",
                "score": float(edit_scores[i][c]),
                "calibrated_score": calibrate(edit_scores[i][c]),
                "valid": bool(calibrate(edit_scores[i][c]) <= calibrate(threshold)),
                "concept_probabilities": [0.9 if c == j else 0.1 / max(1, k - 1) for j in range(k)],
                "traversal": None,
                "refined": None,
                "second_opinion": [],
            }
            if frames and (ways is None or i < ways):
                strip = [t * anomalies[i] + (1 - t) * edits[i, c] for t in targets]
                save_picture(
                    folder / f"{stem}_concept{c}_way.png",
                    np.concatenate(strip, axis=1).round().astype(np.uint8),
                )
                on_way = [t * scores[i] + (1 - t) * edit_scores[i][c] for t in targets]
                edit["traversal"] = {
                    "file": f"{stem}_concept{c}_way.png",
                    "scores": on_way,
                    "calibrated_scores": [calibrate(value) for value in on_way],
                }
            edit.update((edit_extra or {}).get((i, c), {}))
            images[-1]["counterfactuals"].append(edit)
    content = {
        "format": "ifnormal.explanation",
        "schema_version": 3,
        "ifnormal_version": "0.1.0",
        "concepts": k,
        "detector": {
            "name": "a detector",
            "threshold": threshold,
            "calibrated_threshold": calibrate(threshold),
            "higher_is": higher_is,
            "shape": [3, *anomalies.shape[1:3]],
        },
        "traversal_targets": targets,
        "images": images,
        "skipped": [{"path": path, "reason": reason} for path, reason in skipped],
        "facts": {"seed": 0},
        "second_opinion": [],
        "normal_accepted_by": [],
        **(head_extra or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "explanation.json").write_text(json.dumps(content))
    return folder


def second_opinions(
    names: Sequence[str],
    before: Sequence[int],
    after: Sequence[Sequence[int]],
    normal_accepted_by: Sequence[int] = (),
    auroc: float | None = None,
) -> dict[str, Any]:
    """Options of `write_explanation`: the first so many of the named detectors accept a picture.

    Args:
        names: D independent detectors, each with a threshold of 0.5.
        before: N, by how many each image is accepted before the edit.
        after: N rows of K, by how many each counterfactual is accepted.
        normal_accepted_by: D + 1 counts of held-out normal images.
        auroc: of each detector.
    """

    def opinions(accepting: int) -> list[dict[str, Any]]:
        scores = [0.25 if d < accepting else 0.75 for d in range(len(names))]
        return [
            {"detector": name, "score": score, "accepts": score <= 0.5}
            for name, score in zip(names, scores, strict=True)
        ]

    facts = {"threshold": 0.5, "normal_images": sum(normal_accepted_by), "auroc": auroc}
    return {
        "extra": {i: {"second_opinion": opinions(count)} for i, count in enumerate(before)},
        "edit_extra": {
            (i, c): {"second_opinion": opinions(count)}
            for i, row in enumerate(after)
            for c, count in enumerate(row)
        },
        "head_extra": {
            "second_opinion": [{"detector": name, **facts} for name in names],
            "normal_accepted_by": list(normal_accepted_by),
        },
    }


def random_explanation(
    folder: Path, n: int = 3, k: int = 2, size: int = 8, channels: int = 3, **options: Any
) -> Path:
    """Random pixels, `size` high and one wider; all flagged; edits of concept 0 accepted."""
    rng = np.random.default_rng(n)
    colour = (3,) if channels == 3 else ()
    shape = (size, size + 1, *colour)
    return write_explanation(
        folder,
        rng.integers(0, 256, (n, *shape), dtype=np.uint8),
        rng.integers(0, 256, (n, k, *shape), dtype=np.uint8),
        options.pop("scores", (0.5 + 0.5 * (1 - np.arange(n) / (n + 1))).tolist()),
        options.pop("edit_scores", [[0.1] + [0.8] * (k - 1)] * n),
        **{"frames": 4, **options},
    )
