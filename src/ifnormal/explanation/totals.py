"""Sums over the entries of an explanation: how many there are, and what refinement gave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from ifnormal.common.json_reading import number_or_none
from ifnormal.explanation.entries import Counterfactual, ExplainedImage, SkippedImage

# What a note says under "why" where refinement or thrift changed a counterfactual.
REFINED = "refined, as the generator's own answer was still flagged"
THRIFTY = "edits that were not needed were reverted"

_Sums = TypeVar("_Sums", bound="Summable")


@dataclass(frozen=True)
class Summable:
    """Sums that are added field by field."""

    def __add__(self: _Sums, other: _Sums) -> _Sums:
        """The sums over the entries of both."""
        return type(self)(**{k: value + getattr(other, k) for k, value in vars(self).items()})


@dataclass(frozen=True)
class Counts(Summable):
    """How many images were scored, flagged, explained, skipped; and counterfactuals: all, valid."""

    images: int = 0
    flagged: int = 0
    explained: int = 0
    counterfactuals: int = 0
    valid: int = 0
    skipped: int = 0

    @classmethod
    def of(cls, entries: Iterable[ExplainedImage | SkippedImage]) -> Counts:
        """Count entries."""
        counts = dict.fromkeys(cls.__dataclass_fields__, 0)
        for entry in entries:
            if isinstance(entry, SkippedImage):
                counts["skipped"] += 1
                continue
            counts["images"] += 1
            counts["flagged"] += entry.flagged
            counts["explained"] += entry.file is not None
            counts["counterfactuals"] += len(entry.counterfactuals)
            counts["valid"] += sum(edit.valid for edit in entry.counterfactuals)
        return cls(**counts)


@dataclass(frozen=True)
class ImprovementTotals(Summable):
    """Counterfactuals before and after refinement and thrift.

    Attributes:
        counterfactuals: all of them.
        changed: those that have a note, so are not as the generator made them.
        refined: of these, those that were refined.
        reverted: of these, those in which needless edits were reverted.
        valid_before, valid_after: those that the detector accepts, of all.
        measured: the changed ones whose mean squared change is known before and after.
        squared_before, squared_after: the sum of theirs, with black 0 and white 1.
    """

    counterfactuals: int = 0
    changed: int = 0
    refined: int = 0
    reverted: int = 0
    valid_before: int = 0
    valid_after: int = 0
    measured: int = 0
    squared_before: float = 0.0
    squared_after: float = 0.0

    @classmethod
    def of(cls, images: Iterable[ExplainedImage]) -> ImprovementTotals:
        """Sum up the notes of images; a figure that a note lacks does not count."""
        sums: dict[str, Any] = dict.fromkeys(cls.__dataclass_fields__, 0)
        for image in images:
            for edit in image.counterfactuals:
                sums["counterfactuals"] += 1
                sums["valid_after"] += edit.valid
                sums["valid_before"] += edit.valid
                if edit.refined is not None:
                    _add_note(sums, edit)
        return cls(**sums)

    def __str__(self) -> str:
        """One sentence; empty where nothing was changed."""
        if not self.changed:
            return ""
        done = [
            f"{count:,} {words}"
            for count, words in (
                (self.refined, "refined"),
                (self.reverted, "with needless edits reverted"),
            )
            if count
        ]
        how = f" ({', '.join(done)})" if done else ""
        before, after = (
            f"{100 * count / self.counterfactuals:.1f} %"
            for count in (self.valid_before, self.valid_after)
        )
        said = (
            f"{self.changed:,} of {self.counterfactuals:,} counterfactuals were changed after the "
            f"generator{how}: the detector accepted {before} before, {after} now"
        )
        if self.measured:
            means = (s / self.measured for s in (self.squared_before, self.squared_after))
            said += "; mean squared change of those {:.3g} before, {:.3g} now".format(*means)
        return f"{said}."


def _add_note(sums: dict[str, Any], edit: Counterfactual) -> None:
    note = edit.refined or {}
    why = str(note.get("why") or "")
    sums["changed"] += 1
    sums["refined"] += REFINED in why
    sums["reverted"] += THRIFTY in why
    sums["valid_before"] += (note.get("valid_before", edit.valid) is True) - edit.valid
    before, after = number_or_none(note, "mse_before"), number_or_none(note, "mse_after")
    if before is not None and after is not None:
        sums["measured"] += 1
        sums["squared_before"] += before
        sums["squared_after"] += after
