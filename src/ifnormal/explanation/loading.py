"""An explanation folder as tensors: pictures and scores of the images that were explained."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.pixels import read_png
from ifnormal.explanation.document import read_entries, read_head, refuse
from ifnormal.explanation.entries import ExplainedImage, Head, Traversal
from ifnormal.explanation.opinions import Opinions


def load_fields(folder: Path) -> dict[str, Any]:
    """The fields of `Explanation`, by name.

    Raises:
        UserError: a file is missing, damaged, of another version, or does not fit the others.
    """
    head = read_head(folder)
    entries = (e for e in read_entries(folder, head) if isinstance(e, ExplainedImage))
    images = [image for image in entries if image.file is not None]
    edits = [image.counterfactuals for image in images]
    followed = takewhile(lambda row: all(edit.traversal for edit in row), edits)
    strips = [[edit.traversal for edit in row if edit.traversal] for row in followed]
    heat = [image.heatmap for image in images if image.heatmap]
    n, k, m, t = len(images), head.concepts, len(strips), len(head.traversal_targets)

    def pictures(files: list[str], *shape: int) -> Tensor:
        return _stack([read_png(folder / file, head.shape) for file in files], *shape, *head.shape)

    before = _floats([image.calibrated_score for image in images], n)
    after = _floats([[edit.calibrated_score for edit in row] for row in edits], n, k)
    flagged = [image.flagged for image in images]
    valid = [[edit.valid for edit in row] for row in edits]
    limit = head.calibrated_threshold
    opinions = Opinions.of_entries(head, images)
    if (before > limit).tolist() != flagged or (after <= limit).tolist() != valid:
        refuse(folder, "what it calls flagged or valid is not what its scores say")
    if opinions is not None and not opinions.agrees_with(images):
        refuse(folder, "what a second opinion accepts is not what its score says")
    return {
        "anomalies": pictures([str(image.file) for image in images], n),
        "counterfactuals": pictures([edit.file for row in edits for edit in row], n, k),
        "calibrated_scores_before": before,
        "calibrated_scores_after": after,
        "concept_probabilities": _floats(
            [[edit.concept_probabilities for edit in row] for row in edits], n, k, k
        ),
        "calibrated_threshold": limit,
        "traversal_targets": _floats(head.traversal_targets, t),
        "traversals": _stack(
            [_frames(folder, strip, head) for row in strips for strip in row], m, k, t, *head.shape
        ),
        "calibrated_traversal_scores": _floats(
            [[strip.calibrated_scores for strip in row] for row in strips], m, k, t
        ),
        "names": tuple(image.path for image in images),
        "facts": dict(head.facts),
        "own_scores_before": _floats([image.own_score for image in images], n),
        "own_scores_after": _floats([[edit.own_score for edit in row] for row in edits], n, k),
        "own_traversal_scores": _floats(
            [[strip.own_scores for strip in row] for row in strips], m, k, t
        ),
        "own_threshold": head.own_threshold,
        "higher_is": head.higher_is,
        "detector": dict(head.detector),
        "refined": tuple(tuple(edit.refined for edit in row) for row in edits)
        if any(edit.refined is not None for row in edits for edit in row)
        else (),
        "heatmaps": torch.cat([read_png(folder / file, (1, *head.shape[1:])) for file in heat])
        if heat and len(heat) == n
        else None,
        "second_opinion": opinions,
    }


def _frames(folder: Path, traversal: Traversal, head: Head) -> Tensor:
    """(T, C, H, W) uint8 frames of a traversal."""
    channels, height, width = head.shape
    strip = read_png(folder / traversal.file, (channels, height, width * len(traversal.own_scores)))
    return torch.stack(list(strip.split(width, 2)))


def _stack(images: list[Tensor], *shape: int) -> Tensor:
    """uint8 images as one tensor of this shape, which may be empty."""
    return torch.stack(images).view(shape) if images else torch.zeros(shape, dtype=torch.uint8)


def _floats(values: Any, *shape: int) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(shape)
