"""The table of second opinions: counterfactuals beside real normal images and the anomalies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ifnormal.explanation.entries import SecondDetector
from ifnormal.explanation.opinion_totals import shares
from ifnormal.report.listing import Listing
from ifnormal.report.second_opinion import Acceptance
from ifnormal.report.wording import joined, percent, short_line


@dataclass(frozen=True)
class Row:
    """One kind of picture.

    Attributes:
        title: what they are.
        count: how many.
        shares: those that all detectors accept first, those that none accepts last.
    """

    title: str
    count: int
    shares: Sequence[float]

    @property
    def figures(self) -> list[str]:
        """The shares as text."""
        return [percent(share) for share in self.shares]

    @property
    def segments(self) -> list[tuple[float, float]]:
        """(start, width) of each share in a bar of length 1."""
        starts = [sum(self.shares[:n]) for n in range(len(self.shares))]
        return list(zip(starts, self.shares, strict=True))


@dataclass(frozen=True)
class OpinionTable:
    """The table and what is said above and below it.

    Attributes:
        columns: by how many detectors a picture is accepted, all of them first.
        rows: counterfactuals first.
        about: who the detectors are, and how good.
    """

    columns: Sequence[str]
    rows: Sequence[Row]
    about: str


def make_opinion_table(listing: Listing, acceptance: Acceptance | None) -> OpinionTable | None:
    """The table; None where nobody was asked about a counterfactual."""
    if acceptance is None:
        return None
    detectors = listing.head.second_opinion
    normal = Counter(dict(enumerate(listing.head.normal_accepted_by)))
    totals = listing.opinions
    many = len(detectors)
    return OpinionTable(
        columns=[f"{k} of {many}" for k in range(many, -1, -1)]
        if many > 1
        else ["accepted", "flagged"],
        rows=[
            Row(title, counts.total(), shares(counts, many)[::-1])
            for title, counts in (
                ("Counterfactuals", totals.edits),
                ("Real normal images, held out", normal),
                ("Anomalies before the edit", totals.before),
            )
            if counts.total()
        ],
        about=_about(detectors, acceptance),
    )


def _about(detectors: Sequence[SecondDetector], acceptance: Acceptance) -> str:
    names = joined([short_line(detector.detector) for detector in detectors])
    known = [
        f"{short_line(one.detector)} {percent(one.auroc)}"
        for one in detectors
        if one.auroc is not None
    ]
    are = "are detectors of other kinds" if len(detectors) > 1 else "is a detector of another kind"
    said = f"{names} {are}, which the edits were not made to please."
    if known:
        said += f" AuROC, normal images against synthetic outliers: {joined(known)}."
    return (
        f"{said} {percent(acceptance.valid_and_accepted)} of the counterfactuals are accepted by "
        "every detector, the explained one included."
    )
