"""Concept cards: what each concept changes, in pictures and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ifnormal.report.colour_change import paint
from ifnormal.report.concept_effects import Effect, Hue
from ifnormal.report.listing import Listing
from ifnormal.report.picture import (
    LARGEST_DIFFERENCE_SIDE,
    Picture,
    make_picture,
    read_pixels,
)
from ifnormal.report.wording import percent, short_line

# Names of the colour circle, each from 15° before to 15° behind its own angle.
_HUES = (
    *("red", "orange", "yellow", "yellow-green", "green", "blue-green"),
    *("cyan", "sky blue", "blue", "violet", "magenta", "pink"),
)
_GREY = 0.08  # below this chroma a hue means nothing
_MIXED = 0.5  # below this unity the hues point everywhere


@dataclass(frozen=True)
class Pair:
    """An anomaly and its edit, side by side."""

    number: int
    before: Picture
    after: Picture


@dataclass(frozen=True)
class ConceptCard:
    """What one concept does.

    Attributes:
        name: its prompt or its letter.
        summary: one sentence.
        pairs: typical ones.
        change: the mean difference map.
        figures: (title, value, remark) of each figure.
        measured: how many pairs they are of.
    """

    name: str
    summary: str
    pairs: Sequence[Pair]
    change: Picture
    figures: Sequence[tuple[str, str, str]]
    measured: int


def make_concept_cards(listing: Listing, effects: Sequence[Effect]) -> list[ConceptCard]:
    """One card for each effect."""
    return [_card(listing, effect) for effect in effects]


def _card(listing: Listing, effect: Effect) -> ConceptCard:
    concept = listing.concept_names[effect.concept]
    change, kinds = effect.mean_change
    strongest = float(change.max())
    pixels = paint(change / max(strongest, 1e-6), kinds)
    alt = f"Where concept {concept} changes the images on average"
    pairs = []
    for entry, edit in effect.typical:
        number, name = entry.number, short_line(entry.image.path)
        before = read_pixels(listing.folder, str(entry.image.file))
        after = read_pixels(listing.folder, edit.file)
        alts = (
            f"Before: anomaly {number}, {name}",
            f"After: concept {concept} of anomaly {number}",
        )
        pairs.append(
            Pair(
                number,
                make_picture("image", "Before", alts[0], before),
                make_picture("image", "After", alts[1], after),
            )
        )
    return ConceptCard(
        name=concept,
        summary=_summary(effect),
        pairs=pairs,
        change=make_picture("difference", "Mean change", alt, pixels, LARGEST_DIFFERENCE_SIDE),
        figures=_figures(effect, strongest),
        measured=effect.measured,
    )


def _summary(effect: Effect) -> str:
    """The largest kind of change, and the colour it ends in if it has one."""
    brighter, darker, recoloured = effect.kinds
    if effect.area[1] == 0 and sum(effect.kinds) == 0:
        return "Changes nothing."
    before, after = effect.hue
    area = f"in {percent(effect.area[1])} of the image"
    if recoloured >= max(brighter, darker):
        same = _named(after) == _named(before)
        towards = "" if same or _named(after) in ("grey", "mixed") else f" to {_named(after)}"
        return f"Mostly recolours{towards}, {area}."
    if min(brighter, darker) > 0.6 * max(brighter, darker):
        return f"Erases and draws in equal measure, {area}."
    return f"Mostly makes {'brighter' if brighter > darker else 'darker'}, {area}."


def _figures(effect: Effect, strongest: float) -> list[tuple[str, str, str]]:
    low, middle, high = effect.area
    brighter, darker, recoloured = effect.kinds
    before, after = effect.hue
    old, new = effect.brightness
    soft, sharp = effect.edges
    relative = (sharp - soft) / soft if soft else 0.0
    others = []
    if effect.accepted_by_all is not None:
        others = [
            ("By the others", percent(effect.accepted_by_all), "by all independent detectors")
        ]
    return [
        ("Accepted", percent(effect.valid), f"of {effect.measured:,} edits"),
        *others,
        (
            "Edited area",
            percent(middle),
            f"of the image; {percent(low)} to {percent(high)} for most",
        ),
        (
            "Kind of change",
            _largest(effect.kinds),
            f"brighter {percent(brighter)}, darker {percent(darker)}, "
            f"recoloured {percent(recoloured)}",
        ),
        ("Hue", *_hues(before, after)),
        ("Brightness", f"{percent(old)} → {percent(new)}", "mean of the edited pixels"),
        ("Edges", _signed(relative), "strength of contours"),
        ("Mean change", f"up to {percent(strongest)}", "at the strongest spot of the map"),
    ]


def _largest(kinds: Sequence[float]) -> str:
    if not sum(kinds):
        return "none"
    return ("brighter", "darker", "recoloured")[int(np.argmax(kinds))]


def _named(hue: Hue) -> str:
    if hue.colour < _GREY:
        return "grey"
    if hue.unity < _MIXED:
        return "mixed"
    return _HUES[round(hue.degrees / 30) % 12]


def _hues(before: Hue, after: Hue) -> tuple[str, str]:
    """The change of hue in words, and in degrees where there is one."""
    old, new = _named(before), _named(after)
    angles = [
        f"{title} {hue.degrees:.0f}°"
        for title, hue, name in (("before", before, old), ("after", after, new))
        if name not in ("grey", "mixed")
    ]
    words = old if old == new else f"{old} → {new}"
    return words, ", ".join(angles) or ("hardly any colour" if new == "grey" else "no one hue")


def _signed(change: float) -> str:
    rounded = round(100 * change)
    return f"{'+' if rounded > 0 else '−' if rounded else ''}{abs(rounded)} %"
