"""Second opinion: what independent detectors say of counterfactuals, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ifnormal.explanation.entries import Head, Opinion
from ifnormal.explanation.opinion_totals import OpinionTotals
from ifnormal.report.wording import counted, percent

# Below this share, most are not.
HALF = 0.5


@dataclass(frozen=True)
class Badge:
    """How many of the independent detectors accept one picture.

    Attributes:
        kind: whether all of them, some or none accept it.
        marks: one sign a detector, in their order.
        words: a phrase that is understood by itself.
        short: the same beside other badges of its kind.
    """

    kind: Literal["all", "some", "none"]
    marks: str
    words: str
    short: str


def make_badge(opinions: Sequence[Opinion]) -> Badge | None:
    """The badge of a picture; None where no independent detector was asked about it."""
    if not opinions:
        return None
    of, accepting = len(opinions), sum(opinion.accepts for opinion in opinions)
    words = f"accepted by {accepting} of {of} independent detectors"
    if of == 1:
        words = f"{'accepted' if accepting else 'flagged'} by the independent detector"
    return Badge(
        kind="all" if accepting == of else "some" if accepting else "none",
        marks="".join("✓" if opinion.accepts else "✕" for opinion in opinions),
        words=words,
        short=f"{accepting} of {of} others",
    )


def all_of(detectors: int) -> str:
    """All independent detectors, as the subject of a sentence."""
    if detectors == 1:
        return "the independent detector"
    return f"{'both' if detectors == 2 else f'all {counted(detectors)}'} independent detectors"


@dataclass(frozen=True)
class Acceptance:
    """The shares, in [0, 1], that all independent detectors accept; None where nobody knows.

    Attributes:
        detectors: how many there are.
        valid: the share of counterfactuals that the explained detector accepts.
        accepted: of the counterfactuals.
        valid_and_accepted: of the counterfactuals, by the explained detector as well.
        normal: of held-out real normal images.
        before: of the anomalies before the edit.
    """

    detectors: int
    valid: float
    accepted: float
    valid_and_accepted: float
    normal: float | None
    before: float | None

    @property
    def is_doubtful(self) -> bool:
        """The explained detector accepts most counterfactuals, the others mostly do not.

        What they accept of real normal images is what can be expected of them.
        """
        expected = 1.0 if self.normal is None else self.normal
        return self.valid >= HALF and self.accepted < HALF * expected

    @property
    def sentence(self) -> str:
        """What the explained detector accepts and what the others do."""
        accept = "accepts" if self.detectors == 1 else "accept"
        only = "" if self.valid >= HALF else "only "
        start = f"The detector accepts {only}{percent(self.valid)} of the counterfactuals"
        against = ""
        if self.normal is not None:
            against = f", against {percent(self.normal)} of real normal images"
        if self.is_doubtful:
            many = f"only {percent(self.accepted)}" if self.accepted else "none"
            return (
                f"{start}, but {all_of(self.detectors)} {accept} {many}{against}: most please this "
                "detector without looking normal to others."
            )
        return f"{start}, {all_of(self.detectors)} {percent(self.accepted)}{against}."

    @property
    def cautions(self) -> list[str]:
        """Why the word of the independent detectors says little; [] where it does."""
        they, their = ("It", "its") if self.detectors == 1 else ("They", "their")
        verb = "" if self.detectors > 1 else "s"
        said = []
        if self.before is not None and self.before >= HALF:
            said.append(
                f"{they} accept{verb} {percent(self.before)} of the anomalies before the edit as "
                f"well, so {their} approval says little."
            )
        if self.normal is not None and self.normal < HALF:
            said.append(
                f"{they} accept{verb} only {percent(self.normal)} of the real normal images, so "
                f"{their} refusal says little."
            )
        return said


def acceptance_of(head: Head, totals: OpinionTotals) -> Acceptance | None:
    """The shares of an explanation; None where nobody was asked about a counterfactual."""
    detectors, normal = len(head.second_opinion), sum(head.normal_accepted_by)
    accepted, both = totals.accepted_by_all(detectors), totals.valid_and_accepted(detectors)
    if accepted is None or both is None:
        return None
    before = totals.before.total()
    return Acceptance(
        detectors=detectors,
        valid=totals.valid_edits.total() / totals.asked,
        accepted=accepted,
        valid_and_accepted=both,
        normal=head.normal_accepted_by[-1] / normal if normal else None,
        before=totals.before[detectors] / before if before else None,
    )
