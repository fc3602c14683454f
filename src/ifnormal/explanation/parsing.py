"""Entries of explanation.json from their JSON values; a ValueError says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ifnormal.common.json_reading import (
    a_list,
    a_number,
    an_object,
    numbers,
    text,
    truth,
)
from ifnormal.explanation.entries import (
    Counterfactual,
    ExplainedImage,
    Head,
    SkippedImage,
    Traversal,
)
from ifnormal.explanation.opinion_parsing import (
    parse_accepted_by,
    parse_opinions,
    parse_second_detectors,
)
from ifnormal.explanation.pictures import picture_path

_THRESHOLDS = ("threshold", "calibrated_threshold")


def parse_head(values: Mapping[str, Any]) -> Head:
    """What holds for all images, from the values of the document."""
    detector = dict(an_object(values.get("detector"), "detector"))
    shape, higher = detector.pop("shape", None), detector.pop("higher_is", None)
    if not _is_shape(shape):
        raise ValueError(f"the shape {shape} is none of a grey or RGB image")
    if higher not in ("anomalous", "normal"):
        raise ValueError("higher_is must be anomalous or normal")
    own_threshold, calibrated_threshold = (a_number(detector, name) for name in _THRESHOLDS)
    concepts, targets = values.get("concepts"), values.get("traversal_targets")
    if not isinstance(concepts, int) or isinstance(concepts, bool) or concepts < 1:
        raise ValueError(f"concepts must be a whole number above 0, is {concepts}")
    second = parse_second_detectors(values.get("second_opinion", []))
    return Head(
        concepts=concepts,
        shape=(shape[0], shape[1], shape[2]),
        own_threshold=own_threshold,
        calibrated_threshold=calibrated_threshold,
        higher_is=higher,
        traversal_targets=numbers(values, "traversal_targets", len(a_list(targets, "targets"))),
        detector={k: v for k, v in detector.items() if k not in _THRESHOLDS},
        facts=an_object(values.get("facts"), "facts"),
        second_opinion=second,
        normal_accepted_by=parse_accepted_by(values.get("normal_accepted_by", []), len(second)),
    )


def parse_image(value: Any, head: Head) -> ExplainedImage:
    """An entry of `images`."""
    entry = an_object(value, "an image")
    edits = a_list(entry.get("counterfactuals"), "counterfactuals")
    file = None if entry.get("file") is None else picture_path(entry["file"])
    if len(edits) != (0 if file is None else head.concepts):
        raise ValueError(f"it has {len(edits)} counterfactuals of {head.concepts}")
    heatmap = None if entry.get("heatmap") is None else picture_path(entry["heatmap"])
    if heatmap and not file:
        raise ValueError("it has a heatmap and no picture")
    return ExplainedImage(
        path=text(entry, "path"),
        own_score=a_number(entry, "score"),
        calibrated_score=a_number(entry, "calibrated_score"),
        flagged=truth(entry, "flagged"),
        file=file,
        counterfactuals=tuple(_edit(edit, k, head) for k, edit in enumerate(edits)),
        heatmap=heatmap,
        second_opinion=parse_opinions(entry, head),
    )


def parse_skipped(value: Any) -> SkippedImage:
    """An entry of `skipped`."""
    entry = an_object(value, "a skipped image")
    return SkippedImage(text(entry, "path"), text(entry, "reason"))


def _edit(value: Any, concept: int, head: Head) -> Counterfactual:
    entry = an_object(value, "a counterfactual")
    if entry.get("concept") != concept or isinstance(entry["concept"], bool):
        raise ValueError(f"counterfactual {concept} is of concept {entry.get('concept')}")
    strip, refined = entry.get("traversal"), entry.get("refined")
    return Counterfactual(
        concept=concept,
        file=picture_path(entry.get("file")),
        own_score=a_number(entry, "score"),
        calibrated_score=a_number(entry, "calibrated_score"),
        valid=truth(entry, "valid"),
        concept_probabilities=numbers(entry, "concept_probabilities", head.concepts),
        traversal=None if strip is None else _traversal(strip, len(head.traversal_targets)),
        refined=None if refined is None else an_object(refined, "refined"),
        second_opinion=parse_opinions(entry, head),
    )


def _traversal(value: Any, steps: int) -> Traversal:
    entry = an_object(value, "a traversal")
    own, calibrated = (numbers(entry, name, steps) for name in ("scores", "calibrated_scores"))
    return Traversal(picture_path(entry.get("file")), own, calibrated)


def _is_shape(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(isinstance(side, int) and side > 0 for side in value)
        and value[0] in (1, 3)
    )
