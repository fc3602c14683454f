"""Thrift: revert the edits that a counterfactual does not need to stay normal.

An edit falls into regions: connected places of one kind of edit (say, where strokes were erased, or
drawn, or tinted), and everything faint around them. Region by region, the least needed first, the
anomaly's own pixels come back as long as the score stays well below the threshold.
The score alone would not do: half-undone edits pass the detector and look like nothing. So a region
comes back whole or not at all, and only if the editor, shown the outcome, would leave it alone.
Of the detector only scores are asked for, so that it works on black boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.pixels import to_float
from ifnormal.config import ThriftConfig
from ifnormal.detectors.detector import Detector, batch_size_for, device_of, in_batches

# Images (N, C, H, W) in [0, 1] and their concepts (N,) to the images edited for α = 0.
Edit: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Thrifty:
    """Counterfactuals after the thrift.

    Attributes:
        images: (N, K, C, H, W) uint8; where not `changed`, the same bytes as before, elsewhere
            every pixel lies between its value in the anomaly and in the counterfactual.
        changed: (N, K) bool, some of the edit was reverted.
        scores: (N, K) detector scores of `images`.
        queries: how many images the detector has scored.
    """

    images: Tensor
    changed: Tensor
    scores: Tensor
    queries: int


def thrift(
    edit: Edit,
    detector: Detector,
    anomalies: Tensor,
    counterfactuals: Tensor,
    config: ThriftConfig | None = None,
) -> Thrifty:
    """Revert what was not needed in the counterfactuals that the detector accepts.

    Those that it flags stay as they are, and none that it accepts is flagged afterwards. It asks
    for at most 2 + 2 · (regions + 1) scores a counterfactual.

    Args:
        edit: what made them: G(x, 0, k) of images (N, C, H, W) in [0, 1], each of its own concept
            (N,), as `Editor.edit_each` gives it; tells which edits it would make again.
        detector: only its scores are used.
        anomalies: (N, C, H, W) uint8.
        counterfactuals: (N, K, C, H, W) uint8.
        config: how.

    Raises:
        ValueError: anomalies and counterfactuals do not fit together.
    """
    config = config or ThriftConfig()
    if anomalies.shape != counterfactuals.shape[:1] + counterfactuals.shape[2:]:
        raise ValueError(
            f"anomalies {tuple(anomalies.shape)}, counterfactuals {tuple(counterfactuals.shape)}"
        )
    images = counterfactuals.clone()
    changed = torch.zeros(images.shape[:2], dtype=torch.bool)
    if not changed.numel():
        return Thrifty(images, changed, torch.zeros(images.shape[:2]), 0)
    phi = _Counted(detector)
    log_odds = phi.log_odds(images.flatten(0, 1)).view(images.shape[:2])
    scores = log_odds.sigmoid()
    numbers, concepts = (scores <= detector.threshold).nonzero(as_tuple=True)
    size = max(1, batch_size_for(anomalies) // 4)
    for part, concept in zip(numbers.split(size), concepts.split(size), strict=True):
        if not len(part):  # the detector accepts none
            break
        pairs = _Pairs(edit, anomalies[part], images[part, concept], concept)
        found = _thrift_batch(pairs, log_odds[part, concept], phi, config)
        differs = (found != pairs.after).flatten(1).any(1)
        part, concept, found = part[differs], concept[differs], found[differs]
        after = phi.log_odds(found).sigmoid()  # once more, in the batch in which they are reported
        sure = after <= detector.threshold
        part, concept = part[sure], concept[sure]
        images[part, concept], scores[part, concept] = found[sure], after[sure]
        changed[part, concept] = True
    return Thrifty(images, changed, scores, phi.queries)


class _Counted:
    """A detector whose queries are counted."""

    def __init__(self, detector: Detector) -> None:
        self.detector, self.queries = detector, 0
        threshold = torch.tensor(detector.threshold, dtype=torch.float64)
        self.threshold = torch.logit(threshold, eps=1e-9).float()

    def log_odds(self, images: Tensor) -> Tensor:
        """(N,) of uint8 images, on the CPU."""
        self.queries += len(images)
        if not len(images):
            return torch.zeros(0)
        device = device_of(self.detector)
        return in_batches(lambda part: self.detector.inspect(part.to(device))[0], images)


def _thrift_batch(pairs: _Pairs, log_odds: Tensor, phi: _Counted, config: ThriftConfig) -> Tensor:
    """What is left of the edits of N accepted pairs, (N, C, H, W) uint8.

    Args:
        pairs: anomalies and counterfactuals.
        log_odds: (N,) of the counterfactuals.
        phi: the detector.
        config: how.
    """
    shares = region_masks(pairs.before, pairs.after, config)
    limit = log_odds + config.spend * (phi.threshold - log_odds)
    mass = (shares * _change(pairs.before, pairs.after)[:, None]).sum((2, 3)).cpu()
    # What each region costs, reverted by itself; infinitely much if it is needed.
    alone = torch.full(mass.shape, torch.inf)
    rows, regions = (mass > 0).nonzero(as_tuple=True)
    reverted, idle = pairs.revert(rows, shares[rows, regions], config.again)
    alone[rows[idle], regions[idle]] = phi.log_odds(reverted[idle])
    cost = (alone - log_odds[:, None]) / mass.clamp_min(1e-9)
    order = cost.masked_fill(alone > limit[:, None], torch.inf).argsort(dim=1)
    allowed = (alone <= limit[:, None]).gather(1, order)
    mask, result = torch.zeros_like(shares[:, 0]), pairs.after.clone()
    for place in range(order.shape[1]):
        rows = allowed[:, place].nonzero()[:, 0]
        if not len(rows):
            break
        wider = mask[rows] + shares[rows, order[rows, place]]
        candidate, idle = pairs.revert(rows, wider, config.again)
        rows, wider, candidate = rows[idle], wider[idle], candidate[idle]
        good = phi.log_odds(candidate) <= limit[rows]
        mask[rows[good]], result[rows[good]] = wider[good], candidate[good]
    return result


@dataclass(frozen=True)
class _Pairs:
    """N anomalies and accepted counterfactuals, (N, C, H, W) uint8, each of a concept (N,)."""

    edit: Edit
    before: Tensor
    after: Tensor
    concepts: Tensor

    @torch.no_grad()
    def revert(self, rows: Tensor, mask: Tensor, again: float) -> tuple[Tensor, Tensor]:
        """The pairs `rows` with their edits reverted under the mask, and where that was idle.

        It was idle, (N,) bool on the CPU, where the editor, asked to edit the outcome, leaves it
        alone: makes at most a share `again` of the reverted edits anew. Half an edit that merely
        passes the detector is completed.
        """
        before, after = self.before[rows], self.after[rows]
        reverted = revert(before, after, mask)
        if not len(rows):
            return reverted, torch.zeros(0, dtype=torch.bool)
        images = to_float(reverted)
        edited = self.edit(images, self.concepts[rows])
        anew = 255 * (edited - images).abs().amax(1).to(mask.device)
        undone = (mask * _change(before, after)).sum((1, 2))
        return reverted, ((mask * anew).sum((1, 2)) <= again * undone).cpu()


def revert(before: Tensor, after: Tensor, mask: Tensor) -> Tensor:
    """`after` where the mask (N, H, W) is 0, `before` where it is 1, blended between; uint8.

    No pixel leaves the range between its two values.
    """
    start, end = before.float(), after.float()
    return (end + mask.clamp(0, 1)[:, None] * (start - end)).round().to(torch.uint8)


def region_masks(before: Tensor, after: Tensor, config: ThriftConfig) -> Tensor:
    """Shares (N, regions + 1, H, W) of the regions in each pixel; they sum to 1.

    The first is of what belongs to none: faint edits, and specks apart from everything else. The
    others are connected places of one kind of edit, those with the most of it first. Borders are
    soft, so that a reverted region leaves no seam.
    """
    change = _change(before, after)
    labels = connected(_kinds(before, after, config.faint))
    count, height, width = labels.shape
    flat = labels.flatten(1)
    mass = torch.zeros(count, height * width + 1, device=labels.device)
    mass.scatter_add_(1, flat, change.flatten(1))
    mass[:, 0] = 0
    heaviest = mass.topk(min(config.regions, height * width), 1)
    regions = heaviest.indices.shape[1]
    place = torch.zeros_like(mass, dtype=torch.long)
    numbers = torch.arange(1, regions + 1, device=labels.device).expand(count, -1)
    place.scatter_(1, heaviest.indices, numbers * (heaviest.values > 0))
    place[:, 0] = 0
    region = place.gather(1, flat).view(count, height, width)
    # Fringes go with the region they touch, and so does a rim of one pixel for the soft border.
    region = _spread(region, change > config.faint)
    region = torch.where(region > 0, region, _largest_neighbour(region))
    return _soften(F.one_hot(region, regions + 1).permute(0, 3, 1, 2).float())


def connected(kinds: Tensor) -> Tensor:
    """Labels (N, H, W) int64 >= 1, one for each 8-connected place of one kind; 0 where kind is 0.

    Args:
        kinds: (N, H, W) int64 >= 0.
    """
    count, height, width = kinds.shape
    same = _neighbours(kinds) == kinds[:, None]
    labels = torch.arange(1, height * width + 1, device=kinds.device).view(1, height, width)
    labels = labels * (kinds > 0)
    while True:
        wider = (_neighbours(labels) * same).amax(1).maximum(labels) * (kinds > 0)
        # A label is the place of a pixel: follow it to that pixel's own, to get on by leaps.
        known = F.pad(wider.flatten(1), (1, 0))
        wider = wider.maximum(known.gather(1, wider.flatten(1)).view(count, height, width))
        if torch.equal(wider, labels):
            return labels
        labels = wider


def _kinds(before: Tensor, after: Tensor, faint: int) -> Tensor:
    """Kind (N, H, W) of every pixel's edit: which channels rose and which fell; 0 where faint.

    Only channels that changed at least half as much as the one that changed most count, so that
    shades of one edit are one kind.
    """
    change = after.float() - before.float()
    most = change.abs().amax(1, keepdim=True)
    direction = change.sign() * (change.abs() >= most / 2)
    weights = 3 ** torch.arange(change.shape[1], device=change.device)
    code = ((direction + 1) * weights.view(1, -1, 1, 1)).sum(1) + 1
    return (code * (most[:, 0] > faint)).long()


def _spread(region: Tensor, inside: Tensor) -> Tensor:
    """Let regions (N, H, W) grow over pixels without one, as far as these are `inside`."""
    while True:
        wider = torch.where((region == 0) & inside, _largest_neighbour(region), region)
        if torch.equal(wider, region):
            return region
        region = wider


def _largest_neighbour(labels: Tensor) -> Tensor:
    return _neighbours(labels).amax(1)


def _neighbours(labels: Tensor) -> Tensor:
    """The (N, 9, H, W) labels around and in each pixel; 0 beyond the border."""
    padded, (height, width) = F.pad(labels, (1, 1, 1, 1)), labels.shape[1:]
    return torch.stack(
        [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)], 1
    )


def _change(before: Tensor, after: Tensor) -> Tensor:
    """Largest change of a pixel's channels, (N, H, W) in [0, 255]."""
    return (before.float() - after.float()).abs().amax(1)


def _soften(masks: Tensor) -> Tensor:
    """A 3x3 binomial blur of (N, R, H, W); what sums to 1 over R still does."""
    weights = torch.tensor([0.25, 0.5, 0.25], device=masks.device)
    kernel = (weights[:, None] * weights).view(1, 1, 3, 3)
    flat = F.pad(masks.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    return F.conv2d(flat, kernel).view_as(masks)
