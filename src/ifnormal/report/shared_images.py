"""The images that several runs explained, matched, and their counterfactuals measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isclose

import numpy as np

from ifnormal.common.errors import UserError
from ifnormal.report.listing import Entry
from ifnormal.report.picture import Pixels, read_pixels
from ifnormal.report.reading import Run
from ifnormal.report.wording import joined

# Mean differences of pixels: other decoders and scaling cause less, another image causes more.
_SAME_PIXELS = 0.01
_SAME_SCORE = 1e-3


@dataclass
class Totals:
    """Sums over the counterfactuals of one run.

    Attributes:
        edits: how many there are.
        accepted: those that the detector does not flag.
        asked: those that independent detectors were asked about.
        accepted_by_all: those that all of these accept.
        judged: those that a judge was shown.
        normal: those that the judge calls normal.
        change: the mean absolute change of a pixel, in [0, 1], summed.
    """

    edits: int = 0
    accepted: int = 0
    asked: int = 0
    accepted_by_all: int = 0
    judged: int = 0
    normal: int = 0
    change: float = 0.0

    def add(self, run: Run, entry: Entry, anomaly: Pixels) -> None:
        """Count the counterfactuals of an image."""
        for edit in entry.edits:
            self.edits += 1
            self.accepted += edit.valid
            self.asked += bool(edit.second_opinion)
            self.accepted_by_all += bool(edit.second_opinion) and all(
                opinion.accepts for opinion in edit.second_opinion
            )
            self.change += _difference(anomaly, read_pixels(run.explanation.folder, edit.file))
            if judged := run.explanation.truth.of(entry.row, edit.concept):
                self.judged += 1
                self.normal += judged.is_normal


@dataclass
class SharedImages:
    """The images that all runs explained.

    Attributes:
        totals: one a run.
        entries: of each image its entry in every run, in the order of the first run's listing.
        unlike: how many have the same path in all runs, but other pixels, and are left out.
        other_detectors: places of the runs whose detector differs from the first one's in its
            threshold or in the score of an image.
    """

    totals: Sequence[Totals]
    entries: list[Sequence[Entry]] = field(default_factory=list)
    unlike: int = 0
    other_detectors: set[int] = field(default_factory=set)


def shared_images(runs: Sequence[Run]) -> SharedImages:
    """Find the images that all runs explained, among those that the runs' listings hold.

    Pictures are read one image after the other.

    Args:
        runs: two or more.

    Raises:
        UserError: the runs' images are of different shapes, or none is shared by all.
    """
    for other in runs[1:]:
        _require_same_shape(runs[0], other)
    shared = SharedImages([Totals() for _ in runs])
    by_path = [{entry.image.path: entry for entry in run.explanation.explained} for run in runs]
    for path in by_path[0]:
        if all(path in entries for entries in by_path):
            _add(shared, runs, [entries[path] for entries in by_path])
    if not shared.entries:
        folders = joined([str(run.explanation.folder) for run in runs])
        unlike = f" ({shared.unlike} of one path differ in their pixels)" if shared.unlike else ""
        raise UserError(
            f"No image was explained in each of {folders}{unlike}; explain the same files with "
            "every method."
        )
    return shared


def _add(shared: SharedImages, runs: Sequence[Run], entries: Sequence[Entry]) -> None:
    anomalies = [
        read_pixels(run.explanation.folder, str(entry.image.file))
        for run, entry in zip(runs, entries, strict=True)
    ]
    if any(_difference(anomalies[0], anomaly) > _SAME_PIXELS for anomaly in anomalies[1:]):
        shared.unlike += 1
        return
    shared.entries.append(entries)
    for place, (run, entry) in enumerate(zip(runs, entries, strict=True)):
        shared.totals[place].add(run, entry, anomalies[place])
        scores = (entries[0].image.own_score, entry.image.own_score)
        thresholds = (runs[0].explanation.head.own_threshold, run.explanation.head.own_threshold)
        if not all(
            isclose(*pair, rel_tol=_SAME_SCORE, abs_tol=1e-6) for pair in (scores, thresholds)
        ):
            shared.other_detectors.add(place)


def _difference(before: Pixels, after: Pixels) -> float:
    """Mean absolute difference of two pictures, in [0, 1]."""
    return float(np.abs(before.astype(np.int16) - after).mean()) / 255


def _require_same_shape(first: Run, other: Run) -> None:
    runs = (first.explanation, other.explanation)
    if runs[0].head.shape != runs[1].head.shape:
        shapes = ["×".join(map(str, run.head.shape)) for run in runs]
        raise UserError(
            f"The images in {runs[0].folder} have the shape {shapes[0]} (channels, height, width), "
            f"those in {runs[1].folder} {shapes[1]}; only runs of one shape can be shown side by "
            "side."
        )
