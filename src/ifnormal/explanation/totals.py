"""What refinement and thrift gave, over all images: summed up from the notes of the entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from ifnormal.explanation.entries import ExplainedImage, SkippedImage

# How a note begins to say why a counterfactual is another one than the generator's.
REFINED = "refined, as the generator's own answer was still flagged"
THRIFTY = "edits that were not needed were reverted"


@dataclass(frozen=True)
class ImprovementTotals:
    """Counterfactuals before and after refinement and thrift, of any number of images.

    Attributes:
        counterfactuals: all of them.
        changed: those that a note calls other ones than the generator's.
        refined: of these, as the generator's own was still flagged.
        reverted: of these, with something reverted that was not needed.
        valid_before, valid_after: those that the detector accepts, of all.
        measured: the changed ones whose squared change is known before and after.
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
        """Sum up the notes of entries; one that says nothing of a figure does not count in it."""
        counts = dict.fromkeys(cls.__dataclass_fields__, 0)
        sums = dict.fromkeys(("squared_before", "squared_after"), 0.0)
        for edit in (edit for image in images for edit in image.counterfactuals):
            counts["counterfactuals"] += 1
            counts["valid_after"] += edit.valid
            before = edit.valid
            if (note := edit.refined) is not None:
                why = str(note.get("why") or "")
                counts["changed"] += 1
                counts["refined"] += REFINED in why
                counts["reverted"] += THRIFTY in why
                before = note.get("valid_before", before) is True
                squared = [figure(note, key) for key in ("mse_before", "mse_after")]
                if squared[0] is not None and squared[1] is not None:
                    counts["measured"] += 1
                    sums["squared_before"] += squared[0]
                    sums["squared_after"] += squared[1]
            counts["valid_before"] += before
        return cls(**{**counts, **sums})  # type: ignore[arg-type]

    def __add__(self, other: ImprovementTotals) -> ImprovementTotals:
        """The totals of both together."""
        names = self.__dataclass_fields__
        return ImprovementTotals(
            **{name: getattr(self, name) + getattr(other, name) for name in names}
        )

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


def figure(note: Mapping[str, Any], key: str) -> float | None:
    """A finite number of a note; None of anything else."""
    value = note.get(key)
    known = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return value if known else None


@dataclass(frozen=True)
class Counts:
    """How many images were read, flagged, explained, skipped; and edits: all, and valid ones."""

    images: int = 0
    flagged: int = 0
    explained: int = 0
    counterfactuals: int = 0
    valid: int = 0
    skipped: int = 0

    @classmethod
    def of(cls, images: Iterable[ExplainedImage], skipped: Iterable[SkippedImage]) -> Counts:
        """Count entries."""
        counts = dict.fromkeys(cls.__dataclass_fields__, 0)
        for image in images:
            counts["images"] += 1
            counts["flagged"] += image.flagged
            counts["explained"] += image.file is not None
            counts["counterfactuals"] += len(image.counterfactuals)
            counts["valid"] += sum(edit.valid for edit in image.counterfactuals)
        counts["skipped"] = sum(1 for _ in skipped)
        return cls(**counts)

    def __add__(self, other: Counts) -> Counts:
        """The counts of both together."""
        names = self.__dataclass_fields__
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})
