"""What is said of normal images that do not look normal, from the facts of an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ifnormal.common.json_reading import number_or_none
from ifnormal.report.wording import counted, joined, percent, short_line

_NAMED = 3


@dataclass(frozen=True)
class Suspect:
    """An image that was given as normal and does not look normal.

    Attributes:
        name: its path, on one line.
        probability: that it is anomalous, "97 %"; "" where the share was given by the user.
        picture: a data URI, or "" where there is none.
    """

    name: str
    probability: str
    picture: str


def contamination_sentences(facts: Mapping[str, Any]) -> list[str]:
    """How many normal images do not look normal, and what was done about it; [] where unknown.

    Args:
        facts: as `jobs.contamination.contamination_facts` returns them, with `left_out` where
            images were left out of a fit.
    """
    share, low, high = (number_or_none(facts, key) for key in ("share", "low", "high"))
    images = number_or_none(facts, "images")
    if share is None or low is None or high is None or images is None:
        return []
    seen = number_or_none(facts, "looked_at") or images
    among = f"{images:,.0f} normal images"
    if seen < images:
        among = f"{seen:,.0f} of the {images:,.0f} normal images, drawn at random,"
    names = [PurePosixPath(one.name).name for one in suspects_of(facts)]
    more = len(names) - _NAMED
    listed = joined([*names[:_NAMED], *([f"{counted(more)} more"] if more > 0 else [])])
    suspects = f"suspects: {listed}." if names else "no single one is a suspect."
    if low == high:
        said = f"{percent(share)} of the {among} are not normal, as was said; {suspects}"
    else:
        interval = f"{_number(low)} to {_number(high)} %"
        said = f"About {percent(share)} ({interval}) of the {among} do not look normal; {suspects}"
    left_out = number_or_none(facts, "left_out")
    if left_out:
        return [said, "Calibration, threshold and fit go without the suspects."]
    if left_out is not None and names:
        return [said, "None was left out, as the folder may as well be clean."]
    return [said]


def suspects_of(facts: Mapping[str, Any]) -> list[Suspect]:
    """The suspects that the facts list, the most anomalous first; damaged entries are left out."""
    listed, is_given = facts.get("suspects"), facts.get("low") == facts.get("high")
    found = []
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict) or not isinstance(one.get("path"), str):
            continue
        probability, picture = number_or_none(one, "probability"), one.get("picture")
        found.append(
            Suspect(
                short_line(one["path"]),
                "" if is_given or probability is None else percent(min(max(probability, 0), 1)),
                picture if isinstance(picture, str) and picture.startswith("data:image/") else "",
            )
        )
    return found


def _number(share: float) -> str:
    """A share in percent for an interval, "0" to "100", with one digit below 10."""
    value = 100 * share
    return f"{value:.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"
