"""Refinement: a few gradient steps, per image, for counterfactuals that miss the threshold.

Gradient steps on pixels would find adversarial noise. Here they move the *steering* of the trained
generator (the condition that target and concept give to every block), and what comes out goes
through the generator once more, steered as it was trained:

    x̄ = G(G(x; c + δ); c),   c the condition of α = 0 and concept k

The second pass is what keeps x̄ an image as the generator makes them: with the first alone, δ finds
smeared colours that pass the detector and show nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.compute import channels_last
from ifnormal.common.errors import UserError
from ifnormal.common.pixels import quantize, to_float
from ifnormal.config import RefineConfig
from ifnormal.detectors.detector import (
    Detector,
    batch_size_for,
    device_of,
    in_batches,
)
from ifnormal.training.networks.generator import Generator
from ifnormal.training.objective import overshoot_loss

# Below the aim there is no gradient; a little beyond it, 8-bit rounding does no harm.
_BEYOND = 0.1
_OVERSHOOT = 0.3
# An answer that hardly changes the anomaly may still be refined by so much a pixel.
_LITTLE = 0.02
# More than any change costs.
_MISSED = 1e6


@dataclass(frozen=True)
class Refined:
    """Counterfactuals after the refinement.

    Attributes:
        images: (N, K, C, H, W) uint8; where not `changed`, the same bytes as before.
        changed: (N, K) bool, refined so that the detector accepts it.
        scores: (N, K) detector scores of `images`.
        queries: how many images the detector has scored, those for gradients not counted.
    """

    images: Tensor
    changed: Tensor
    scores: Tensor
    queries: int


@torch.inference_mode(False)
@torch.enable_grad()
def refine(
    generator: Generator,
    detector: Detector,
    anomalies: Tensor,
    counterfactuals: Tensor,
    config: RefineConfig | None = None,
    guide: Detector | None = None,
) -> Refined:
    """Refine the counterfactuals that the detector flags; those it accepts stay as they are.

    Of all images on the way, as they would be saved in 8 bit, the accepted one with the smallest
    change is kept. A counterfactual for which there is none stays as the generator made it.

    Args:
        generator: the trained G.
        detector: decides.
        anomalies: (N, C, H, W) uint8.
        counterfactuals: (N, K, C, H, W) uint8, of concept k in `[:, k]`.
        config: how.
        guide: gives the gradient instead of a detector that has none.

    Raises:
        UserError: the detector has no gradient and there is no guide.
        ValueError: anomalies and counterfactuals do not fit together.
    """
    config = config or RefineConfig()
    if anomalies.shape != counterfactuals.shape[:1] + counterfactuals.shape[2:]:
        raise ValueError(
            f"anomalies {tuple(anomalies.shape)}, counterfactuals {tuple(counterfactuals.shape)}"
        )
    if guide is None and detector.is_black_box:
        raise UserError(
            "The detector has no gradient to refine by; leave the refinement out, or give the "
            "surrogate that was fitted to it."
        )
    images = counterfactuals.clone()
    changed = torch.zeros(images.shape[:2], dtype=torch.bool)
    if not changed.numel():
        return Refined(images, changed, torch.zeros(images.shape[:2]), 0)
    scores = _scores(detector, images.flatten(0, 1)).view(images.shape[:2])
    queries = scores.numel()
    numbers, concepts = (scores > detector.threshold).nonzero(as_tuple=True)
    size = batch_size_for(anomalies, gradients=True)
    for part, concept in zip(numbers.split(size), concepts.split(size), strict=True):
        if not len(part):  # nothing to refine
            break
        search = _Search(detector, anomalies[part], images[part, concept], config)
        _descend(search, generator, guide or detector, concept)
        accepted = search.rank < torch.inf
        part, concept, found = part[accepted], concept[accepted], search.best[accepted]
        if len(found):  # once more, in the batch in which they are reported
            after = _scores(detector, found)
            sure = after <= detector.threshold
            part, concept = part[sure], concept[sure]
            images[part, concept], scores[part, concept] = found[sure], after[sure]
            changed[part, concept] = True
        queries += search.queries + len(found)
    return Refined(images, changed, scores, queries)


class _Search:
    """The best refinements so far of N counterfactuals.

    Attributes:
        config: how.
        before: (N, C, H, W) the anomalies, in [0, 1].
        answer: the same of the generator's own answers.
        aim: the score to aim at.
        best: (N, C, H, W) uint8.
        rank: (N,) cost of the best; a step more where it misses the aim, infinite without one.
        queries: images scored.
    """

    def __init__(
        self, detector: Detector, anomalies: Tensor, answers: Tensor, config: RefineConfig
    ) -> None:
        self._detector, self.config = detector, config
        self.before, self.answer = channels_last(to_float(anomalies)), to_float(answers)
        self._farthest = config.reach * _distance(self.answer, self.before).clamp_min(_LITTLE)
        self.aim = min(config.aim, detector.threshold)
        self.best, self.rank = answers.clone(), torch.full((len(answers),), torch.inf)
        self.queries = 0

    def cost(self, edited: Tensor) -> Tensor:
        """How far edits are from the anomalies and from the generator's answers, weighted, (N,)."""
        minimality = self.config.minimality * _distance(edited, self.before)
        return minimality + self.config.faithfulness * _distance(edited, self.answer)

    @torch.no_grad()
    def consider(self, edited: Tensor) -> None:
        """Keep what is accepted, as it would be saved, where it is better than the best so far."""
        quantized = quantize(edited)
        floats, scores = to_float(quantized), _scores(self._detector, quantized)
        self.queries += len(scores)
        rank = self.cost(floats).cpu() + _MISSED * (scores > self.aim)
        near = (_distance(floats, self.answer) <= self._farthest).cpu()
        better = (scores <= self._detector.threshold) & near & (rank < self.rank)
        self.best[better], self.rank[better] = quantized[better], rank[better]


def _descend(search: _Search, generator: Generator, guide: Detector, concepts: Tensor) -> None:
    """Move the steering along the gradient of the guide's score and of the cost of the change."""
    config, before = search.config, search.before
    device = next(generator.parameters()).device
    wanted = torch.logit(torch.tensor(search.aim, dtype=torch.float64), eps=1e-9).item() - _BEYOND
    target = torch.zeros(len(before), device=device)
    condition = generator.steer(target, concepts.to(device)).detach()
    offset = torch.zeros_like(condition).requires_grad_(True)
    optimizer = torch.optim.Adam([offset], lr=config.learning_rate)
    for step in range(config.steps + 1):
        first, overshoot = generator.edit(before.to(device), condition + offset)
        second, more = generator.edit(first, condition)
        edited = second.to(before.device)
        search.consider(edited)
        if step == config.steps:
            break
        log_odds, _ = guide.inspect(edited.to(device_of(guide)))
        if not log_odds.requires_grad:
            raise UserError(
                "The detector gives no gradient to refine by; declare it a black box, or leave the "
                "refinement out."
            )
        miss = F.relu(log_odds.float() - wanted).to(before.device)
        penalty = _OVERSHOOT * len(before) * (overshoot_loss(overshoot) + overshoot_loss(more))
        total = (miss + search.cost(edited)).sum() + penalty.to(before.device)
        (offset.grad,) = torch.autograd.grad(total, offset)
        optimizer.step()


def _distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference a pixel, (N,)."""
    return (first - second).abs().mean((1, 2, 3))


def _scores(detector: Detector, images: Tensor) -> Tensor:
    """(N,) scores of uint8 images, on the CPU."""
    device = device_of(detector)
    return in_batches(lambda part: detector.inspect(part.to(device))[0], images).sigmoid()
