"""Thrift: revert the edits that a counterfactual does not need to stay normal.

An edit falls into regions: connected places of strong change, and everything faint around them.
Region by region, the least needed first, the anomaly's own pixels come back as long as the score
stays well below the threshold. A region comes back whole or not at all, as half an edit may pass
the detector and look like nothing. Only scores are asked for, so that it works on black boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.config import ThriftConfig
from ifnormal.detectors.detector import Detector, batch_size_for, in_batches


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
    detector: Detector,
    anomalies: Tensor,
    counterfactuals: Tensor,
    config: ThriftConfig | None = None,
) -> Thrifty:
    """Revert what was not needed in the counterfactuals that the detector accepts.

    Those that it flags stay as they are, and none that it accepts is flagged afterwards. It asks
    for at most 3 + 2 · (regions + 1) scores a counterfactual.

    Args:
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
        found = _thrift_batch(
            phi, anomalies[part], images[part, concept], log_odds[part, concept], config
        )
        differs = (found != images[part, concept]).flatten(1).any(1).cpu()
        part, concept, found = part[differs], concept[differs], found[differs]
        if not len(part):
            continue
        # Once more, in the batch in which they are reported.
        after = phi.log_odds(found).sigmoid()
        part, concept, found, after = (
            tensor[after <= detector.threshold] for tensor in (part, concept, found, after)
        )
        images[part, concept], scores[part, concept] = found, after
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
        return in_batches(lambda part: self.detector.inspect(part)[0], images)


def _thrift_batch(
    phi: _Counted, before: Tensor, after: Tensor, log_odds: Tensor, config: ThriftConfig
) -> Tensor:
    """What is left of the edits of (N, C, H, W) accepted pairs, uint8."""
    shares = region_masks(before, after, config)
    limit = log_odds + config.spend * (phi.threshold - log_odds)
    masses = (shares * _change(before, after)[:, None]).sum((2, 3)).cpu()
    # How much each region, reverted by itself, costs.
    alone = torch.full(masses.shape, torch.inf)
    rows, regions = (masses > 0).nonzero(as_tuple=True)
    if not len(rows):
        return after
    reverted = revert(before[rows], after[rows], shares[rows, regions])
    alone[rows, regions] = phi.log_odds(reverted)
    cost = ((alone - log_odds[:, None]) / masses.clamp_min(1e-9)).masked_fill(
        alone > limit[:, None], torch.inf
    )
    order = cost.argsort(dim=1)
    mask, result = torch.zeros_like(shares[:, 0]), after.clone()
    for place in range(order.shape[1]):
        region = order[:, place]
        rows = (cost.gather(1, region[:, None])[:, 0] < torch.inf).nonzero()[:, 0]
        if not len(rows):
            break
        wider = mask[rows] + shares[rows, region[rows]]
        candidate = revert(before[rows], after[rows], wider)
        kept = alone[rows, region[rows]] if place == 0 else phi.log_odds(candidate)
        good = kept <= limit[rows]
        mask[rows[good]], result[rows[good]] = wider[good], candidate[good]
    return result


def revert(before: Tensor, after: Tensor, mask: Tensor) -> Tensor:
    """`after` where the mask (N, H, W) is 0, `before` where it is 1, blended between; uint8.

    No pixel leaves the range between its two values.
    """
    start, end = before.float(), after.float()
    return (end + mask.clamp(0, 1)[:, None] * (start - end)).round().to(torch.uint8)


def region_masks(before: Tensor, after: Tensor, config: ThriftConfig) -> Tensor:
    """Shares (N, regions + 1, H, W) of the regions in each pixel; they sum to 1.

    The first is of everything faint; the others are the connected places of strong change, those
    with the most of it first. Borders are soft, so that a reverted region leaves no seam.
    """
    change = _change(before, after)
    labels = connected(F.max_pool2d((change > config.faint).float()[:, None], 3, 1, 1)[:, 0] > 0)
    count, height, width = labels.shape
    flat = labels.flatten(1)
    mass = torch.zeros(count, height * width + 1, device=labels.device)
    mass.scatter_add_(1, flat, change.flatten(1))
    mass[:, 0] = 0
    heaviest = mass.topk(min(config.regions, height * width), 1)
    # Whatever is not among the heaviest goes with the faint.
    place = torch.zeros(mass.shape, dtype=torch.long, device=labels.device)
    numbers = torch.arange(1, heaviest.indices.shape[1] + 1, device=labels.device)
    place.scatter_(1, heaviest.indices, numbers.expand(count, -1) * (heaviest.values > 0))
    place[:, 0] = 0
    which = place.gather(1, flat).view(count, height, width)
    hard = F.one_hot(which, heaviest.indices.shape[1] + 1).permute(0, 3, 1, 2).float()
    return _soften(hard)


def connected(mask: Tensor) -> Tensor:
    """Labels (N, H, W), 1 or more, one for each 8-connected part of a mask; 0 outside it."""
    height, width = mask.shape[1:]
    inside = mask.float()[:, None]
    labels = torch.arange(1, height * width + 1, device=mask.device).float()
    labels = labels.view(1, 1, height, width) * inside
    while True:
        spread = F.max_pool2d(labels, 3, 1, 1) * inside
        if torch.equal(spread, labels):
            return labels[:, 0].long()
        labels = spread


def _change(before: Tensor, after: Tensor) -> Tensor:
    """Largest change of a pixel's channels, (N, H, W) in [0, 255]."""
    return (before.float() - after.float()).abs().amax(1)


def _soften(masks: Tensor) -> Tensor:
    """A 3x3 binomial blur of (N, R, H, W); what sums to 1 over R still does."""
    weights = torch.tensor([0.25, 0.5, 0.25], device=masks.device)
    kernel = (weights[:, None] * weights).view(1, 1, 3, 3)
    flat = F.pad(masks.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    return F.conv2d(flat, kernel).view_as(masks)
