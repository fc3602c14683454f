"""Search: the smallest region of an image whose replacement makes the detector accept it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ifnormal.explainers.exemplar.donors import Donor
from ifnormal.explainers.exemplar.regions import Map, completed, composed, parts, region, softened
from ifnormal.explainers.exemplar.registration import Picture

_AREAS = (0.005, 0.02, 0.08, 0.3)  # shares of the image, and then all of it
_REFINED, _ROUNDS = 3, 3
_PARTS = 8
_DISJOINT = 0.05  # of a mask may lie in what another reason replaced
_GROWTH = 12

# Pictures -> their log-odds, high for anomalies.
Score = Callable[[Sequence[Picture]], "np.ndarray[tuple[int], np.dtype[np.float64]]"]


class OutOfQueriesError(Exception):
    """The budget of queries is spent."""


@dataclass(frozen=True)
class Goal:
    """What a counterfactual has to reach, in log-odds.

    Attributes:
        typical: of normal images. A donor that scores higher by itself need not be surpassed.
        threshold: what has to be reached at least.
    """

    typical: float
    threshold: float


@dataclass(frozen=True)
class Family:
    """Replacements by one donor, growing from where a map is largest.

    Attributes:
        donor: registered.
        importance: (H, W), at least 0.
        allowed: (H, W) in [0, 1], where pixels may be replaced.
        limit: the log-odds that a replacement by this donor has to reach.
    """

    donor: Donor
    importance: Map
    allowed: Map
    limit: float = -np.inf

    def mask(self, area: float) -> Map:
        """The mask of a share of the image."""
        return np.minimum(region(self.importance * self.allowed, area), self.allowed)


@dataclass(frozen=True)
class Replacement:
    """One counterfactual.

    Attributes:
        family: its donor, and the order in which its region grows.
        mask: (H, W) in [0, 1], the share of the donor in each pixel.
        log_odds: what the detector gives it.
        change: the mean absolute change of the pixels.
    """

    family: Family
    mask: Map
    log_odds: float
    change: float

    def picture(self, image: Picture) -> Picture:
        """The counterfactual of an image."""
        return quantized(composed(image, self.family.donor.picture, self.mask))

    def grown(self, share: float) -> Map:
        """The mask of a share of the region, the most important part of it."""
        inside = self.mask > 0.5
        if share >= 1 or not inside.any():
            return self.mask
        if share <= 0:
            return np.zeros_like(self.mask)
        limit = np.quantile(self.family.importance[inside], 1 - share)
        core = inside & (self.family.importance >= limit)
        return np.minimum(softened(core.astype(np.uint8)), self.mask)


def quantized(picture: Picture) -> Picture:
    """As an 8-bit file holds it, so that scores are those of the pictures that are saved."""
    return np.asarray(np.round(np.clip(picture, 0, 1) * 255) / 255, np.float32)


def smallest_replacement(
    image: Picture, families: Sequence[Family], score: Score, goal: Goal
) -> Replacement | None:
    """The least change that reaches the goal; the lowest score where nothing does.

    Coarse areas of all families first, then areas between for the best of them; then each
    connected part that the detector does not need is given back.

    Args:
        image: the anomaly.
        families: what may be tried.
        score: of the detector; raises OutOfQueriesError, which ends the search early.
        goal: what to reach.

    Returns:
        None if nothing could be tried.
    """
    tried: list[tuple[int, float, Replacement]] = []

    def attempt(pairs: Sequence[tuple[int, float]]) -> None:
        masks = [(families[n], families[n].mask(area)) for n, area in pairs]
        rows = [row for row, (_, mask) in enumerate(masks) if mask.max() > 0.5]
        made = replaced(image, [masks[row] for row in rows], score)
        tried.extend((*pairs[row], found) for row, found in zip(rows, made, strict=True))

    try:
        nothing = replaced(image, [(families[0], np.zeros_like(families[0].allowed))], score)
        if nothing[0].log_odds <= goal.typical:
            return nothing[0]
        families = limited(image, families, score, goal)
        attempt([(n, area) for area in (*_AREAS, 1.0) for n in range(len(families))])
        for _ in range(_ROUNDS):
            attempt(_between(tried, goal))
        best = _best([found for _, _, found in tried], goal)
        if best is None:
            return None
        return given_back(image, whole_defect(image, best, score), score, goal)
    except OutOfQueriesError:
        return _best([found for _, _, found in tried], goal)


def limited(image: Picture, families: Sequence[Family], score: Score, goal: Goal) -> list[Family]:
    """The families with the limits of their donors."""
    donors = {family.donor.number: family for family in families}
    whole = np.ones(image.shape[:2], np.float32)
    found = replaced(image, [(family, whole) for family in donors.values()], score)
    reached = dict(zip(donors, (one.log_odds for one in found), strict=True))
    return [
        replace(family, limit=min(goal.threshold, max(goal.typical, reached[family.donor.number])))
        for family in families
    ]


def replaced(
    image: Picture, pairs: Sequence[tuple[Family, Map]], score: Score
) -> list[Replacement]:
    """Score the replacements of families under masks."""
    if not pairs:
        return []
    pictures = [quantized(composed(image, family.donor.picture, mask)) for family, mask in pairs]
    log_odds = score(pictures)
    return [
        Replacement(family, mask, float(odds), float(np.abs(picture - image).mean()))
        for (family, mask), picture, odds in zip(pairs, pictures, log_odds, strict=True)
    ]


def whole_defect(image: Picture, found: Replacement, score: Score) -> Replacement:
    """The replacement with all of the defect that it touches, unless the score rises by that."""
    difference = np.abs(found.family.donor.picture - image).mean(2)
    mask = np.minimum(completed(found.mask, difference), found.family.allowed)
    if np.array_equal(mask, found.mask):
        return found
    try:
        (wider,) = replaced(image, [(found.family, mask)], score)
    except OutOfQueriesError:
        return found
    return wider if wider.log_odds <= max(found.log_odds, found.family.limit) else found


def given_back(image: Picture, found: Replacement, score: Score, goal: Goal) -> Replacement:
    """The replacement without the connected parts that it does not need for what it reached."""
    limit = found.family.limit if found.log_odds <= found.family.limit else goal.threshold
    pieces = parts(found.mask, _PARTS)
    if found.log_odds > limit or len(pieces) < 2:
        return found
    try:
        alone = replaced(image, [(found.family, found.mask - piece) for piece in pieces], score)
        order = np.argsort([one.log_odds for one in alone], kind="stable")
        for n in order:
            if alone[n].log_odds > limit:
                break
            fewer = np.maximum(found.mask - pieces[n], 0)
            (without,) = replaced(image, [(found.family, fewer)], score)
            if without.log_odds <= limit:
                found = without
    except OutOfQueriesError:
        pass
    return found


def growth(
    image: Picture, found: Replacement, score: Score, targets: Sequence[float | None]
) -> list[Picture]:
    """Pictures in which the region has grown until the log-odds reach each of falling targets.

    The first picture may be the image itself. Log-odds never rise along the way. A target of None,
    or one that no part of the region reaches, gives the whole replacement.
    """
    shares = np.linspace(0, 1, _GROWTH + 1)
    masks = [found.grown(float(share)) for share in shares]
    pictures = [quantized(composed(image, found.family.donor.picture, mask)) for mask in masks]
    log_odds = score(pictures)
    at, last, result = 0, len(shares) - 1, []
    for target in targets:
        while at < last and (target is None or log_odds[at] > target):
            lower = (n for n in range(at + 1, last) if log_odds[n] <= log_odds[at])
            at = last if target is None else next(lower, last)
        result.append(pictures[at])
    return result


def apart_from(families: Sequence[Family], others: Sequence[Replacement]) -> list[Family]:
    """The families, restricted to where none of the other replacements has changed anything."""
    taken = np.max([other.mask for other in others], axis=0)
    free = (1 - softened((taken > _DISJOINT).astype(np.uint8))).astype(np.float32)
    free[taken > _DISJOINT] = 0
    return [replace(family, allowed=family.allowed * free) for family in families]


def _between(
    tried: Sequence[tuple[int, float, Replacement]], goal: Goal
) -> list[tuple[int, float]]:
    """Areas half-way between the smallest that reaches its limit and the next smaller one tried."""
    good = _good([found for _, _, found in tried], goal)
    reached: dict[int, tuple[float, float]] = {}
    for n, area, found in tried:
        if any(found is one for one in good) and (n not in reached or area < reached[n][0]):
            reached[n] = (area, found.change)
    pairs = []
    for n in sorted(reached, key=lambda n: reached[n][1])[:_REFINED]:
        area = reached[n][0]
        smaller = max((a for m, a, _ in tried if m == n and a < area), default=area / 4)
        if area / smaller > 1.2:
            pairs.append((n, float(np.sqrt(area * smaller))))
    return pairs


def _good(tried: Sequence[Replacement], goal: Goal) -> list[Replacement]:
    """Those that reach the limits of their donors; the threshold where none does."""
    good = [found for found in tried if found.log_odds <= found.family.limit]
    return good or [found for found in tried if found.log_odds <= goal.threshold]


def _best(tried: Sequence[Replacement], goal: Goal) -> Replacement | None:
    """The least change of those that are good; else the lowest score."""
    if good := _good(tried, goal):
        return min(good, key=lambda found: found.change)
    return min(tried, key=lambda found: found.log_odds, default=None)
