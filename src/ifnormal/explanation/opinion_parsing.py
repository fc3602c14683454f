"""Second opinions of explanation.json from their JSON values; a ValueError says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ifnormal.common.json_reading import a_list, an_object, finite, text, truth
from ifnormal.explanation.entries import Head, Opinion, SecondDetector


def parse_second_detectors(value: Any) -> tuple[SecondDetector, ...]:
    """The independent detectors of a head."""
    detectors = [_second_detector(entry) for entry in a_list(value, "second_opinion")]
    if len({one.detector for one in detectors}) < len(detectors):
        raise ValueError("second_opinion names a detector twice")
    return tuple(detectors)


def _second_detector(value: Any) -> SecondDetector:
    entry = an_object(value, "a detector of second_opinion")
    return SecondDetector(
        detector=text(entry, "detector"),
        threshold=_share(entry.get("threshold"), "threshold"),
        normal_images=_count(entry.get("normal_images"), "normal_images"),
        normal_accepted=_share_or_none(entry, "normal_accepted"),
        auroc=_share_or_none(entry, "auroc"),
    )


def parse_accepted_by(value: Any, detectors: int) -> tuple[int, ...]:
    """How many normal images are accepted by 0, 1, ... of the detectors; or ()."""
    counts = a_list(value, "normal_accepted_by")
    if counts and len(counts) != detectors + 1:
        raise ValueError(f"normal_accepted_by has {len(counts)} numbers instead of {detectors + 1}")
    return tuple(_count(count, "normal_accepted_by") for count in counts)


def parse_opinions(entry: Mapping[str, Any], head: Head) -> tuple[Opinion, ...]:
    """What the detectors of the head say of an image or counterfactual; () where none was asked."""
    values = a_list(entry.get("second_opinion", []), "second_opinion")
    given = [an_object(value, "an opinion") for value in values]
    opinions = tuple(
        Opinion(text(one, "detector"), _share(one.get("score"), "score"), truth(one, "accepts"))
        for one in given
    )
    asked = [second.detector for second in head.second_opinion]
    if opinions and [opinion.detector for opinion in opinions] != asked:
        raise ValueError("its second_opinion is of other detectors than the document names")
    return opinions


def _share(value: Any, name: str) -> float:
    share = finite(value, name)
    if not 0 <= share <= 1:
        raise ValueError(f"{name} must lie between 0 and 1, is {share}")
    return share


def _share_or_none(entry: Mapping[str, Any], name: str) -> float | None:
    value = entry.get(name)
    return None if value is None else _share(value, name)


def _count(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be a whole number, is {value}")
    return value
