"""The training of the generator against a frozen detector, readable from top to bottom.

One step: draw images, targets α and concepts k (`draw_batch`); edit them; let the discriminator
learn to tell the edits from real images (`_discriminator_step`); let the generator and the concept
classifier learn from every term of the objective (`_terms`, in `_train_step`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ifnormal.common.compute import channels_last, make_fabric
from ifnormal.common.errors import DivergenceError
from ifnormal.common.pixels import quantize, to_float
from ifnormal.common.progress import Progress
from ifnormal.config import FitConfig
from ifnormal.detectors.black_box.distillation import Distillation
from ifnormal.detectors.detector import Detector, move_to
from ifnormal.training import objective
from ifnormal.training.batch import TrainingBatch, draw_batch
from ifnormal.training.images import TrainingImages
from ifnormal.training.networks.augmentation import augment
from ifnormal.training.state import Checkpoint, TrainingState, fit_material

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_REPORT_EVERY = 25
_FRESH_BATCH = 128


def fit(
    detector: Detector,
    normal: Tensor,
    outliers: Tensor,
    config: FitConfig,
    seed: int,
    folder: Path | None = None,
    resume: bool = False,
    on_step: Callable[[TrainingState], None] | None = None,
    sources: Tensor | None = None,
) -> TrainingState:
    """Train a generator, a discriminator and a concept classifier against `detector`.

    Args:
        detector: frozen; only its scores, features and their gradients are used. A torch module
            is moved to the device of the training. For a black box, which has scores only, a
            surrogate is distilled and stands in for it.
        normal: (N, C, H, W) uint8 normal images.
        outliers: (M, C, H, W) uint8 images that the detector flags, such as outlier exposure.
        config: everything else.
        seed: makes the run repeatable.
        folder: losses (`losses.jsonl`) and checkpoints go here.
        resume: go on from the checkpoint in `folder`, to the same weights as without the break.
        on_step: called after each step, for benchmarks and studies.
        sources: (M,) index of the normal image that each synthetic outlier was made of, -1 where
            none is known.

    Raises:
        DivergenceError: a term became NaN or infinite; names it and the last good checkpoint.
        UserError: the checkpoint is damaged, or of another configuration, detector or images.
    """
    fabric = make_fabric(config.precision)
    material = {} if folder is None else fit_material(detector, normal, outliers)
    checkpoint = None
    if folder is not None and resume:
        checkpoint = Checkpoint.read(folder, config, seed, material)
    if folder is not None and not resume and fabric.is_global_zero:
        TrainingState.forget(folder)
    distillation, seen = None, detector
    if detector.is_black_box:
        distillation = _distil(detector, normal, outliers, config, seed, fabric, checkpoint)
        detector, seen = distillation.surrogate, distillation.surrogate.as_distilled()
    move_to(detector, fabric.device)
    images = TrainingImages.prepare(seen, normal, outliers, config.concepts, fabric.device, sources)
    state = TrainingState.create(detector, images, config, seed, fabric)
    state.distillation, state.material = distillation, material
    if checkpoint is not None:
        state.restore(checkpoint)
    elif folder is not None and distillation is not None:
        state.save(folder)  # so that no query before the first step is asked twice
    if config.conditional:
        images = replace(images, modes=state.modes.log_probabilities(images.features).exp())
    start, begun = state.step, time.perf_counter()
    log = folder / "losses.jsonl" if folder is not None and fabric.is_global_zero else None
    with Progress("explainer", config.steps, log, start=state.step) as progress:
        while state.step < config.steps:
            state.set_learning_rates()
            batch = draw_batch(images, state)
            terms, edited = _train_step(detector, batch, state, fabric)
            _require_finite(terms, state, folder)
            state.step += 1
            if distillation is not None:
                distillation.refresh(quantize(edited), state.step, config.steps)
                terms |= distillation.figures
            if state.step % _REPORT_EVERY == 0 or state.step == config.steps:
                progress.report(state.step, {name: float(value) for name, value in terms.items()})
            if folder is not None and state.step % config.checkpoint_every == 0:
                _require_finite_weights(state, folder)
                fabric.barrier()
                if fabric.is_global_zero:
                    state.save(folder)
            if on_step is not None:
                on_step(state)
    _require_finite_weights(state, folder)
    images_done = (state.step - start) * config.batch_size * fabric.world_size
    state.images_per_second = images_done / (time.perf_counter() - begun)
    if distillation is not None:
        fresh = _fresh_edits(images, state, distillation.plan.fresh)
        state.surrogate_report = distillation.report(fresh)
    return state


def _distil(
    detector: Detector,
    normal: Tensor,
    outliers: Tensor,
    config: FitConfig,
    seed: int,
    fabric: Fabric,
    checkpoint: Checkpoint | None,
) -> Distillation:
    """The surrogate of a black box, as distilled before the fit or as the checkpoint has it."""
    TrainingImages.require_usable(detector, normal, outliers, config.concepts)
    distillation = Distillation(detector, normal, outliers, config.surrogate, seed, fabric)
    if checkpoint is None:
        distillation.begin()
    else:
        facts = checkpoint.facts["surrogate"]
        distillation.restore(checkpoint.folder, checkpoint.tensors, facts)
    return distillation


@torch.no_grad()
def _fresh_edits(images: TrainingImages, state: TrainingState, count: int) -> Tensor:
    """(count, C, H, W) uint8 counterfactuals of outliers by the generator that explains.

    From randomness of their own, so that a fit that ended is as it was.
    """
    random, concepts = torch.Generator().manual_seed(state.seed), state.config.concepts
    parts = []
    for size in torch.ones(count).split(_FRESH_BATCH):
        index = images.draw(torch.ones(len(size)), random)
        concept = torch.arange(len(size), device=images.device) % concepts
        target = torch.zeros(len(size), device=images.device)
        edited, _ = state.averaged(channels_last(to_float(images.images[index])), target, concept)
        parts.append(quantize(edited))
    return torch.cat(parts)


def _train_step(
    detector: Detector, batch: TrainingBatch, state: TrainingState, fabric: Fabric
) -> tuple[dict[str, Tensor], Tensor]:
    """One update of every network; returns the terms before the update, and the edited images."""
    with fabric.autocast():
        edited, overshoot = state.generator(batch.images, batch.targets, batch.concepts)
        modes = _condition(batch, state)
    terms = {"discriminator": _discriminator_step(batch, edited, modes, state, fabric)}
    with fabric.autocast():
        terms |= _terms(detector, batch, edited, overshoot, modes, state)
    weights = state.config.weights
    total = torch.stack([getattr(weights, name) * terms[name] for name in _weighted(terms)]).sum()
    for optimizer in (state.generator_optimizer, state.classifier_optimizer):
        optimizer.zero_grad(set_to_none=True)
    fabric.backward(total)
    state.generator_optimizer.step()
    state.classifier_optimizer.step()
    state.average()
    return {name: value.detach() for name, value in terms.items()}, edited.detach()


def _weighted(terms: dict[str, Tensor]) -> list[str]:
    return [name for name in terms if name != "discriminator"]


def _condition(batch: TrainingBatch, state: TrainingState) -> Tensor:
    """(K·B, K) modes the discriminator is told: the concept's, or the image's own if unmoved."""
    if not state.config.conditional:
        return batch.modes
    asked = F.one_hot(batch.concepts, state.config.concepts).to(batch.modes.dtype)
    return torch.where(batch.moved[:, None], asked, batch.modes)


def _varied(images: Tensor, batch: TrainingBatch, state: TrainingState) -> Tensor:
    """What the discriminator sees of images."""
    return channels_last(augment(images, state.random)) if batch.augmented else images


def _discriminator_step(
    batch: TrainingBatch, edited: Tensor, modes: Tensor, state: TrainingState, fabric: Fabric
) -> Tensor:
    """Teach D to tell real images from edited ones; returns its loss."""
    with fabric.autocast():
        realness = state.discriminator(
            _varied(torch.cat([batch.real_images, edited.detach()]), batch, state),
            torch.cat([batch.real_scores, batch.wanted_scores]),
            torch.cat([batch.real_modes, modes]),
        ).float()
    real, generated = realness.split([len(batch.real_images), len(edited)])
    loss = objective.discriminator_loss(real, generated)
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    state.discriminator_optimizer.step()
    return loss


def _terms(
    detector: Detector,
    batch: TrainingBatch,
    edited: Tensor,
    overshoot: Tensor,
    modes: Tensor,
    state: TrainingState,
) -> dict[str, Tensor]:
    """Every term of the generator's and the classifier's objective with a weight above 0."""
    config, weights, moved = state.config, state.config.weights, batch.moved
    log_odds, features = detector.inspect(edited)
    seen = _varied(edited, batch, state)
    realness = state.judge_realness(seen, batch.wanted_scores, modes).float()
    terms = {
        "gan": objective.generator_loss(realness, config.generator_loss),
        "score": objective.score_loss(log_odds, batch.wanted_scores),
        "overshoot": objective.overshoot_loss(overshoot),
    }
    cycled, same = _undo_and_keep(batch, edited, state)
    terms["cycle"] = objective.reconstruction_loss(batch.images, cycled)
    terms["reconstruction"] = objective.reconstruction_loss(same[0], same[1])
    if weights.concept and config.concepts > 1:
        terms |= _concept_terms(detector, batch, edited, features, cycled, same, state)
    first, second = _pairs_of_concepts(batch, config.concepts)
    if weights.diversity and len(first):
        terms["diversity"] = objective.diversity_loss(
            edited[first], edited[second], config.diversity_margin
        )
    if weights.contrast and len(first):
        standard = (features - state.feature_mean) / state.feature_deviation
        terms["contrast"] = objective.contrast_loss(standard[first], standard[second])
    if weights.mode and moved.any():
        log_modes = state.modes.log_probabilities(features[moved])
        terms["mode"] = objective.mode_loss(
            log_modes, batch.concepts[moved], 1 - batch.targets[moved]
        )
    if weights.minimality and moved.any():
        terms["minimality"] = objective.reconstruction_loss(batch.images[moved], edited[moved])
    if weights.structure and moved.any():
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
    return {name: value for name, value in terms.items() if getattr(weights, name) > 0}


def _undo_and_keep(
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
    """Concepts recognised on the way there and back; nothing recognised where nothing happened."""
    moved, random, in_pixels = batch.moved, state.random, state.config.concept_space == "pixels"
    if not moved.any():
        return {}

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


def _pairs_of_concepts(batch: TrainingBatch, concepts: int) -> tuple[Tensor, Tensor]:
    """Rows of the same moved image in two different concepts, for every pair of concepts."""
    rows = torch.arange(len(batch.images), device=batch.images.device).view(concepts, -1)
    moved = batch.moved.view(concepts, -1)[0]
    rows = rows[:, moved]
    pairs = list(combinations(range(concepts), 2))
    if not pairs:
        return rows[:0].flatten(), rows[:0].flatten()
    return torch.cat([rows[a] for a, _ in pairs]), torch.cat([rows[b] for _, b in pairs])


def _require_finite(terms: dict[str, Tensor], state: TrainingState, folder: Path | None) -> None:
    """Raise DivergenceError naming the first term that is not finite."""
    if bool(torch.isfinite(torch.stack(list(terms.values()))).all()):
        return
    name = next(name for name, value in terms.items() if not bool(torch.isfinite(value)))
    checkpoint = state.last_checkpoint(folder)
    raise DivergenceError(
        f"The term '{name}' became {terms[name].item()} at step {state.step + 1}; the last good "
        f"checkpoint is {checkpoint}; begin anew with a lower learning_rate."
    )


def _require_finite_weights(state: TrainingState, folder: Path | None) -> None:
    """Raise DivergenceError naming a network with a broken weight: a finite loss may have given it.

    Checked before each checkpoint, so that what is saved is good.
    """
    name = state.broken_network()
    if name is not None:
        raise DivergenceError(
            f"A weight of the {name} became NaN or infinite by step {state.step}; the last good "
            f"checkpoint is {state.last_checkpoint(folder)}; begin anew with a lower learning_rate."
        )
