"""Effects: what each concept changes, measured one picture at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ifnormal.explanation.entries import Counterfactual
from ifnormal.report.colour_change import change_parts, largest
from ifnormal.report.listing import Entry, Listing
from ifnormal.report.picture import Pixels, read_pixels

TYPICAL = 4
# A pixel counts as edited from this change of a channel on, as a share of its range.
EDITED = 0.1


@dataclass(frozen=True)
class Hue:
    """The mean hue of the edited pixels, weighted by how colourful they are.

    Attributes:
        degrees: on the colour circle, 0 red, 120 green, 240 blue.
        unity: 1 if all have this hue, 0 if there are as many on every side of the circle.
        colour: how colourful they are, in [0, 1]; near 0 the hue means nothing.
    """

    degrees: float
    unity: float
    colour: float


@dataclass(frozen=True)
class Effect:
    """What one concept does to the anomalies, on average.

    Attributes:
        concept: counted from 0.
        measured: how many pairs the figures are of.
        valid: the share that the detector accepts.
        accepted_by_all: the share that all independent detectors accept; None if none was asked.
        area: 10, 50 and 90 % quantiles of the edited share of the image.
        kinds: shares of brighter, darker and recoloured in all change; they sum to 1, or to 0
            where nothing changed.
        hue: before and after, in the edited pixels.
        brightness: mean value (as in HSV) before and after, of the edited pixels, in [0, 1].
        edges: mean gradient of the whole image before and after, in [0, 1] a pixel.
        mean_change: (H, W) mean change of a pixel, and (H, W, 3) its kinds.
        typical: entries whose change is nearest to the median.
    """

    concept: int
    measured: int
    valid: float
    accepted_by_all: float | None
    area: tuple[float, float, float]
    kinds: tuple[float, float, float]
    hue: tuple[Hue, Hue]
    brightness: tuple[float, float]
    edges: tuple[float, float]
    mean_change: tuple[NDArray[np.float32], NDArray[np.float32]]
    typical: Sequence[tuple[Entry, Counterfactual]]


@dataclass
class _Sums:
    """Everything that is added up over the pairs of one concept; as large as one image."""

    change: NDArray[np.float64]
    kinds: NDArray[np.float64]
    hue: NDArray[np.complex128] = field(default_factory=lambda: np.zeros(2, np.complex128))
    colour: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    value: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    edges: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    edited: float = 0.0
    pairs: list[tuple[Entry, Counterfactual]] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    amounts: list[float] = field(default_factory=list)


def measure_effects(listing: Listing) -> list[Effect]:
    """One effect for each concept, over the listing's sample; reads pictures one by one."""
    sums: dict[int, _Sums] = {}
    for entry in listing.sample:
        before = read_pixels(listing.folder, str(entry.image.file))
        edges = mean_edge(before)
        for edit in entry.edits:
            after = read_pixels(listing.folder, edit.file)
            if edit.concept not in sums:
                sums[edit.concept] = _Sums(np.zeros(before.shape[:2]), np.zeros(before.shape))
            _add(sums[edit.concept], (entry, edit), before, after, edges)
    return [_effect(concept, sums[concept]) for concept in sorted(sums)]


def mean_edge(pixels: Pixels) -> float:
    """Mean length of the brightness gradient, in [0, 1] a pixel."""
    value = largest(pixels).astype(np.float32) / 255
    if min(value.shape) < 2:
        return 0.0
    down, across = np.diff(value, axis=0)[:, :-1], np.diff(value, axis=1)[:-1]
    return float(np.sqrt(down**2 + across**2).mean())


def _add(
    sums: _Sums, pair: tuple[Entry, Counterfactual], before: Pixels, after: Pixels, edges: float
) -> None:
    change, kinds = change_parts(before, after)
    sums.change += change
    sums.kinds += kinds
    sums.edges += (edges, mean_edge(after))
    sums.pairs.append(pair)
    sums.amounts.append(float(change.mean()))
    edited = change >= EDITED
    sums.areas.append(float(edited.mean()))
    sums.edited += float(edited.sum())
    for side, pixels in enumerate((before, after)):
        chosen = pixels[edited].astype(np.float32) / np.float32(255)
        hue, colour = _hue(chosen)
        sums.hue[side] += hue
        sums.colour[side] += colour
        sums.value[side] += largest(chosen).sum()


def _hue(pixels: NDArray[np.float32]) -> tuple[complex, float]:
    """The sum over (P, 3) pixels of their hue as a vector as long as their chroma, and of chroma.

    The vector is the pixel seen along the grey axis of the colour cube.
    """
    if not len(pixels):
        return 0j, 0.0
    red, green, blue = pixels.T
    chroma = largest(pixels) + largest(-pixels)
    across, up = red - (green + blue) / 2, (green - blue) * np.sqrt(3) / 2
    vector = across + 1j * up
    length = np.maximum(np.abs(vector), 1e-9)
    return complex((vector / length * chroma).sum()), float(chroma.sum())


def _effect(concept: int, sums: _Sums) -> Effect:
    measured, edited = len(sums.pairs), max(sums.edited, 1.0)
    total = sums.kinds.sum()
    kinds = sums.kinds.sum(axis=(0, 1)) / total if total else np.zeros(3)
    low, middle, high = np.quantile(sums.areas, (0.1, 0.5, 0.9))
    before, after = (
        Hue(
            degrees=float(np.degrees(np.angle(hue)) % 360),
            unity=float(abs(hue) / colour) if colour else 0.0,
            colour=float(colour / edited),
        )
        for hue, colour in zip(sums.hue, sums.colour, strict=True)
    )
    return Effect(
        concept=concept,
        measured=measured,
        valid=sum(edit.valid for _, edit in sums.pairs) / measured,
        accepted_by_all=_accepted_by_all([edit for _, edit in sums.pairs]),
        area=(float(low), float(middle), float(high)),
        kinds=(float(kinds[0]), float(kinds[1]), float(kinds[2])),
        hue=(before, after),
        brightness=(float(sums.value[0] / edited), float(sums.value[1] / edited)),
        edges=(float(sums.edges[0] / measured), float(sums.edges[1] / measured)),
        mean_change=(
            (sums.change / measured).astype(np.float32),
            (sums.kinds / measured).astype(np.float32),
        ),
        typical=_typical(sums),
    )


def _accepted_by_all(edits: Sequence[Counterfactual]) -> float | None:
    asked = [edit.second_opinion for edit in edits if edit.second_opinion]
    if not asked:
        return None
    return sum(all(one.accepts for one in opinions) for opinions in asked) / len(asked)


def _typical(sums: _Sums) -> list[tuple[Entry, Counterfactual]]:
    """The pairs whose amount of change is nearest to the median: accepted ones first."""
    median = float(np.median(sums.amounts))
    order = sorted(
        range(len(sums.pairs)),
        key=lambda i: (not sums.pairs[i][1].valid, abs(sums.amounts[i] - median)),
    )
    return [sums.pairs[i] for i in order[:TYPICAL]]
