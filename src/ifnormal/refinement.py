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

from ifnormal.compute import channels_last
from ifnormal.config import RefineConfig
from ifnormal.detectors.detector import Detector, batch_size_for, in_batches, is_black_box
from ifnormal.errors import UserError
from ifnormal.generators.pixel import Generator
from ifnormal.objective import overshoot_loss
from ifnormal.pixels import quantize, to_float

# Gradients take more memory than scores.
_SMALLER = 4
# Below the aim there is no gradient; a little beyond it, 8-bit rounding does no harm.
_BEYOND = 0.1
_OVERSHOOT = 0.3
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
        detector: decides; on the device of the images.
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
    if guide is None and is_black_box(detector):
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
    size = max(1, batch_size_for(anomalies) // _SMALLER)
    for part, concept in zip(numbers.split(size), concepts.split(size), strict=True):
        found, accepted = _refine_batch(
            generator, detector, guide or detector, anomalies[part], images[part, concept],
            concept, config,
        )  # fmt: skip
        queries += (config.steps + 1) * len(part)
        part, concept, found = part[accepted], concept[accepted], found[accepted]
        if not len(part):
            continue
        # Once more, in the batch in which they are reported.
        after = _scores(detector, found)
        part, concept, found, after = (
            tensor[after <= detector.threshold] for tensor in (part, concept, found, after)
        )
        images[part, concept], scores[part, concept] = found, after
        changed[part, concept] = True
    return Refined(images, changed, scores, queries)


def _refine_batch(
    generator: Generator,
    detector: Detector,
    guide: Detector,
    anomalies: Tensor,
    counterfactuals: Tensor,
    concepts: Tensor,
    config: RefineConfig,
) -> tuple[Tensor, Tensor]:
    """The best refinement of each of (N, C, H, W) pairs, uint8, and whether it is accepted."""
    best = counterfactuals.clone()
    best_rank = torch.full((len(best),), torch.inf)
    device = next(generator.parameters()).device
    with torch.inference_mode(False), torch.enable_grad():
        before, answer = channels_last(to_float(anomalies)), to_float(counterfactuals)
        farthest = config.reach * _distance(answer, before)
        target = torch.zeros(len(before), device=device)
        condition = generator.steer(target, concepts.to(device)).detach()
        offset = torch.zeros_like(condition).requires_grad_(True)
        optimizer = torch.optim.Adam([offset], lr=config.learning_rate)
        aim = min(config.aim, detector.threshold)
        wanted = torch.logit(torch.tensor(aim, dtype=torch.float64), eps=1e-9).item() - _BEYOND
        for step in range(config.steps + 1):
            first, overshoot = generator.edit(before.to(device), condition + offset)
            second, more = generator.edit(first, condition)
            edited = second.to(before.device)
            _keep_better(detector, edited, before, answer, farthest, aim, config, best, best_rank)
            if step == config.steps:
                break
            log_odds, _ = guide.inspect(edited)
            loss = F.relu(log_odds.float() - wanted) + _cost(before, answer, edited, config)
            penalty = _OVERSHOOT * len(before) * (overshoot_loss(overshoot) + overshoot_loss(more))
            if not log_odds.requires_grad:
                raise UserError(
                    "The detector gives no gradient to refine by; declare it a black box, or leave "
                    "the refinement out."
                )
            total = loss.sum() + penalty.to(loss.device)
            (offset.grad,) = torch.autograd.grad(total, offset)
            optimizer.step()
    return best, best_rank < torch.inf


def _keep_better(
    detector: Detector,
    edited: Tensor,
    before: Tensor,
    answer: Tensor,
    farthest: Tensor,
    aim: float,
    config: RefineConfig,
    best: Tensor,
    best_rank: Tensor,
) -> None:
    """Take over into `best` what is accepted and ranks lower than before.

    The rank is the cost of the change, and a step more where the score misses the aim.
    """
    quantized = quantize(edited)
    floats = to_float(quantized)
    scores = _scores(detector, quantized)
    rank = _cost(before, answer, floats, config).cpu() + _MISSED * (scores > aim)
    accepted = (scores <= detector.threshold) & (_distance(floats, answer) <= farthest).cpu()
    better = accepted & (rank < best_rank)
    best[better] = quantized[better]
    best_rank[better] = rank[better]


def _cost(before: Tensor, answer: Tensor, edited: Tensor, config: RefineConfig) -> Tensor:
    """How far an edit is from the anomaly and from the generator's own answer, weighted, (N,)."""
    minimality = config.minimality * _distance(edited, before)
    return minimality + config.faithfulness * _distance(edited, answer)


def _distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference a pixel, (N,)."""
    return (first - second).abs().mean((1, 2, 3))


def _scores(detector: Detector, images: Tensor) -> Tensor:
    """(N,) scores of uint8 images, on the CPU."""
    return in_batches(lambda part: detector.inspect(part)[0], images).sigmoid()
