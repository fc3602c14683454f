"""The terms of the generator's and the concept classifier's objective for one batch.

Which images, scores and features each term of `objective` is computed from.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from ifnormal.common.compute import channels_last
from ifnormal.detectors.detector import Detector
from ifnormal.training import objective
from ifnormal.training.batch import TrainingBatch
from ifnormal.training.state import TrainingState


def objective_terms(
    detector: Detector,
    batch: TrainingBatch,
    edited: Tensor,
    overshoot: Tensor,
    modes: Tensor,
    state: TrainingState,
) -> dict[str, Tensor]:
    """Every term with a weight above 0 that this batch has something for, by name.

    Args:
        detector: frozen.
        batch: K·B images, targets and concepts.
        edited: (K·B, C, H, W) the generator's edits x̄ of them.
        overshoot: (K·B, C, H, W) what was clamped away of these.
        modes: (K·B, K) as the discriminator is told of these.
        state: the networks and the random state.
    """
    config, weights = state.config, state.config.weights
    log_odds, features = detector.inspect(edited)
    seen = batch.augment(edited, state.random)
    realness = state.judge_realness(seen, batch.wanted_scores, modes).float()
    terms = {
        "gan": objective.generator_loss(realness, config.generator_loss),
        "score": objective.score_loss(log_odds, batch.wanted_scores),
        "overshoot": objective.overshoot_loss(overshoot),
    }
    cycled, same = _cycle_and_identity(batch, edited, state)
    terms["cycle"] = objective.reconstruction_loss(batch.images, cycled)
    terms["reconstruction"] = objective.reconstruction_loss(*same)
    if weights.concept and config.concepts > 1 and batch.moved.any():
        terms |= _concept_terms(detector, batch, edited, features, cycled, same, state)
    terms |= _contrast_terms(batch, edited, features, state)
    terms |= _edit_terms(batch, edited, features, state)
    return {name: value for name, value in terms.items() if getattr(weights, name) > 0}


def _cycle_and_identity(
    batch: TrainingBatch, edited: Tensor, state: TrainingState
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """x̃ = G(x̄, φ(x), k), and for half of the images the pair (x, G(x, φ(x), k)), in one pass."""
    half = torch.arange(len(edited), device=edited.device) % state.config.batch_size
    half = half % 2 == (state.step % 2 if state.config.batch_size > 1 else 0)
    images = torch.cat([edited, batch.images[half]])
    scores = torch.cat([batch.scores, batch.scores[half]])
    concepts = torch.cat([batch.concepts, batch.concepts[half]])
    output, _ = state.generator(channels_last(images), scores, concepts)
    cycled, kept = output.split([len(edited), int(half.sum())])
    return cycled, (batch.images[half], kept)


def _concept_terms(
    detector: Detector,
    batch: TrainingBatch,
    edited: Tensor,
    features: Tensor,
    cycled: Tensor,
    same: tuple[Tensor, Tensor],
    state: TrainingState,
) -> dict[str, Tensor]:
    """R recognises the concept in edits and in their undoing, and none where nothing was edited."""
    moved, random, in_pixels = batch.moved, state.random, state.config.concept_space == "pixels"

    def read(images: Tensor) -> Tensor:
        """What R sees of an image: its pixels, or the detector's features."""
        return images if in_pixels else detector.inspect(channels_last(images))[1]

    before = batch.images[moved] if in_pixels else batch.features[moved]
    after = edited[moved] if in_pixels else features[moved]
    back = read(cycled[moved])
    concept = batch.concepts[moved]
    terms = {
        "concept": objective.concept_loss(state.classifier(before, after, random), concept)
        + objective.concept_loss(state.classifier(after, back, random), concept)
    }
    if state.config.weights.no_concept:
        original, kept = same
        unedited = [
            state.classifier(before, back, random),
            state.classifier(read(original), read(kept), random),
        ]
        terms["no_concept"] = objective.no_concept_loss(torch.cat(unedited).float())
    return terms


def _contrast_terms(
    batch: TrainingBatch, edited: Tensor, features: Tensor, state: TrainingState
) -> dict[str, Tensor]:
    """Edits of the same image in two concepts differ, in pixels and in features."""
    weights, terms = state.config.weights, dict[str, Tensor]()
    first, second = _pairs_of_concepts(batch, state.config.concepts)
    if weights.diversity and len(first):
        terms["diversity"] = objective.diversity_loss(
            edited[first], edited[second], state.config.diversity_margin
        )
    if weights.contrast and len(first):
        standard = (features - state.feature_mean) / state.feature_deviation
        terms["contrast"] = objective.contrast_loss(standard[first], standard[second])
    return terms


def _edit_terms(
    batch: TrainingBatch, edited: Tensor, features: Tensor, state: TrainingState
) -> dict[str, Tensor]:
    """Edits reach the normal mode of their concept, and change no more of the image than that."""
    weights, moved, terms = state.config.weights, batch.moved, dict[str, Tensor]()
    any_moved = bool(moved.any())
    if weights.mode and any_moved:
        terms["mode"] = objective.mode_loss(
            state.modes.log_probabilities(features[moved]),
            batch.concepts[moved],
            1 - batch.targets[moved],
        )
    if weights.minimality and any_moved:
        terms["minimality"] = objective.reconstruction_loss(batch.images[moved], edited[moved])
    if weights.structure and any_moved:
        terms["structure"] = objective.structure_distance(batch.images[moved], edited[moved]).mean()
    if weights.restoration and batch.restored.any():
        terms["restoration"] = objective.restoration_loss(
            batch.images, edited, batch.sources, batch.restored
        )
    if weights.path and len(batch.path):
        middle, end = batch.path.unbind(1)
        terms["path"] = objective.betweenness_loss(
            batch.images[middle], edited[middle], edited[end].detach()
        )
    return terms


def _pairs_of_concepts(batch: TrainingBatch, concepts: int) -> tuple[Tensor, Tensor]:
    """Rows of the same moved image in two different concepts, for every pair of concepts."""
    rows = torch.arange(len(batch.images), device=batch.images.device).view(concepts, -1)
    rows = rows[:, batch.moved.view(concepts, -1)[0]]
    pairs = list(combinations(range(concepts), 2))
    if not pairs:
        return rows[:0].flatten(), rows[:0].flatten()
    return torch.cat([rows[a] for a, _ in pairs]), torch.cat([rows[b] for _, b in pairs])
