"""Several runs side by side: what each method makes of the same anomalies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ifnormal.report.listing import Entry
from ifnormal.report.picture import Picture, make_picture, read_pixels
from ifnormal.report.reading import Run
from ifnormal.report.score_writing import score_writing
from ifnormal.report.second_opinion import Badge, make_badge
from ifnormal.report.shared_images import SharedImages, Totals, shared_images
from ifnormal.report.truth import Judged
from ifnormal.report.wording import (
    NOT_MEASURED,
    counted,
    figure,
    joined,
    percent,
    short_line,
)

ROWS = 12
# Characters of data URIs.
BUDGET = 1_500_000
# Twice what a cell of a wide grid measures on a screen.
SIDE = 192

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Method:
    """The head of one run's columns.

    Attributes:
        name: the run's.
        generator: what made the counterfactuals, as `--generator` calls it; empty if unknown.
        prompt: its prompt, if all concepts have the same.
        concepts: the names of its K columns; an empty one if there is but one.
        figures: (title, value) of each figure, over the images that all runs explained.
    """

    name: str
    generator: str
    prompt: str
    concepts: Sequence[str]
    figures: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Cell:
    """One counterfactual.

    Attributes:
        picture: of it.
        score: the detector's, as text.
        valid: the detector does not flag it.
        badge: how many independent detectors accept it, if they were asked.
        judged: what the judge says, if one was asked.
    """

    picture: Picture
    score: str
    valid: bool
    badge: Badge | None
    judged: Judged | None


@dataclass(frozen=True)
class Row:
    """One anomaly and its counterfactuals.

    Attributes:
        number: its number in the rest of the report.
        name: its path.
        picture: of it.
        score: of the first run's detector, as text.
        groups: K cells of each run.
    """

    number: int
    name: str
    picture: Picture
    score: str
    groups: Sequence[Sequence[Cell]]

    @property
    def weight(self) -> int:
        """Characters of its pictures."""
        pictures = [self.picture, *(cell.picture for group in self.groups for cell in group)]
        return sum(len(picture.src) for picture in pictures)


@dataclass(frozen=True)
class SideBySide:
    """The grid, and the paragraphs above it."""

    paragraphs: Sequence[str]
    methods: Sequence[Method]
    rows: Sequence[Row]

    @property
    def columns(self) -> int:
        """How many counterfactuals a row has."""
        return sum(len(method.concepts) for method in self.methods)

    @property
    def has_concepts(self) -> bool:
        """Whether the columns of any run have names."""
        return any(name for method in self.methods for name in method.concepts)


def make_side_by_side(
    run: Run, others: Sequence[Run], rows: int = ROWS, budget: int = BUDGET
) -> SideBySide:
    """A row for each image that all runs explained; of many, a few that are taken evenly.

    Args:
        run: the first run, whose listing gives the order.
        others: those beside it.
        rows: the most rows.
        budget: characters of data URIs; heavy pictures make fewer rows, at least one.

    Raises:
        UserError: the runs' images are of different shapes, or none is shared by all.
    """
    runs = [run, *others]
    shared, names = shared_images(runs), _names(runs)
    shown = [_row(runs, names, entries) for entries in _evenly(shared.entries, rows)]
    while len(shown) > 1 and (weight := sum(row.weight for row in shown)) > budget:
        shown = _evenly(shown, max(1, len(shown) * budget // weight))
    with_judge = any(totals.judged for totals in shared.totals)
    with_others = any(totals.asked for totals in shared.totals)
    return SideBySide(
        paragraphs=[*_paragraphs(shared, names, len(shown)), *_others(runs)],
        methods=[
            _method(one, name, totals, with_others, with_judge)
            for one, name, totals in zip(runs, names, shared.totals, strict=True)
        ],
        rows=shown,
    )


def _evenly(items: Sequence[_Item], count: int) -> list[_Item]:
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round()
    return [items[int(place)] for place in places]


def _names(runs: Sequence[Run]) -> list[str]:
    """The runs' names; where several have the same, with the folder that each is in."""
    names = [run.name for run in runs]
    folders = [run.explanation.folder.resolve() for run in runs]
    return [
        name if names.count(name) == 1 else short_line("/".join(folder.parts[-3:-1]))
        for name, folder in zip(names, folders, strict=True)
    ]


def _row(runs: Sequence[Run], names: Sequence[str], entries: Sequence[Entry]) -> Row:
    listing, entry = runs[0].explanation, entries[0]
    name = short_line(entry.image.path)
    pixels = read_pixels(listing.folder, str(entry.image.file))
    return Row(
        number=entry.number,
        name=name,
        picture=make_picture("image", "Anomaly", f"Anomaly {entry.number}: {name}", pixels, SIDE),
        score=score_writing(listing)(entry.image.own_score),
        groups=[
            _cells(run, its, f"Counterfactual of anomaly {entry.number} by {run_name}")
            for run, run_name, its in zip(runs, names, entries, strict=True)
        ],
    )


def _cells(run: Run, entry: Entry, alt: str) -> list[Cell]:
    writing, cells = score_writing(run.explanation), []
    for edit, concept in zip(entry.edits, _concepts(run), strict=True):
        judged = run.explanation.truth.of(entry.row, edit.concept)
        outcome = "accepted" if edit.valid else "still flagged"
        said = f"{alt}{f', concept {concept}' if concept else ''}: {outcome} by the detector"
        badge = make_badge(edit.second_opinion)
        said += f", {badge.words}" if badge else ""
        if judged:
            said += f", {'normal' if judged.is_normal else 'not normal'} to the judge"
        pixels = read_pixels(run.explanation.folder, edit.file)
        picture = make_picture("image", "Counterfactual", said, pixels, SIDE)
        cells.append(Cell(picture, writing(edit.own_score), edit.valid, badge, judged))
    return cells


def _concepts(run: Run) -> list[str]:
    names = run.explanation.concept_names
    return names if len(names) > 1 else [""]


def _method(run: Run, name: str, totals: Totals, with_others: bool, with_judge: bool) -> Method:
    figures = [("accepted", percent(totals.accepted / totals.edits))]
    if with_others:
        every = percent(totals.accepted_by_all / totals.asked) if totals.asked else NOT_MEASURED
        figures.append(("by all independent detectors", every))
    if with_judge:
        normal = percent(totals.normal / totals.judged) if totals.judged else NOT_MEASURED
        figures.append(("normal to the judge", normal))
    figures.append(("mean change", figure(100 * totals.change / totals.edits, "%")))
    facts = run.explanation.head.facts
    return Method(name, _generator(facts), _one_prompt(facts), _concepts(run), figures)


def _generator(facts: Mapping[str, Any]) -> str:
    if "fit" in facts:  # the options of the pixel generator's training
        return "pixel"
    named = facts.get("generator") or facts.get("method")
    return short_line(named) if isinstance(named, str) else ""


def _one_prompt(facts: Mapping[str, Any]) -> str:
    prompts = facts.get("prompts")
    different = set(map(str, prompts)) if isinstance(prompts, list) else set()
    return short_line(different.pop()) if len(different) == 1 else ""


def _others(runs: Sequence[Run]) -> list[str]:
    """A warning where the runs asked different independent detectors."""
    asked = [run.explanation.head.second_opinion for run in runs if run.explanation.opinions.asked]
    known = {tuple((one.detector, round(one.threshold, 3)) for one in panel) for panel in asked}
    if len(known) < 2:
        return []
    return [
        "Not the same independent detectors: those of the runs differ in name or threshold, so how "
        "many they accept cannot be compared."
    ]


def _paragraphs(shared: SharedImages, names: Sequence[str], shown: int) -> list[str]:
    count = len(shared.entries)
    runs = "both runs" if len(names) == 2 else f"all {counted(len(names))} runs"
    images = f"{counted(count)} images" if count > 1 else "one image"
    part = f", of which {counted(shown)}, taken evenly, are shown" if shown < count else ""
    paragraphs = [
        f"What each run makes of the {images} that {runs} explained{part}. Figures are over "
        "all of these; the mean change is that of a pixel, as a share of its range."
    ]
    if shared.other_detectors:
        who = joined([names[place] for place in sorted(shared.other_detectors)])
        paragraphs.append(
            f"Not the same detector: that of {who} has another threshold or other scores for these "
            "images. Each counterfactual is accepted, or not, by the detector of its own run."
        )
    if shared.unlike:
        are = "has" if shared.unlike == 1 else "have"
        paragraphs.append(
            f"Left out: {counted(shared.unlike)} that {are} the same path in {runs}, but other "
            "pixels."
        )
    return paragraphs
