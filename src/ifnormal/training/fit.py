"""The training of the generator against a frozen detector, readable from top to bottom.

One step: draw images, targets α and concepts k (`draw_batch`); edit them; let the discriminator
learn to tell the edits from real images (`_discriminator_step`); let the generator and the concept
classifier learn from every term of the objective (`objective_terms`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ifnormal.common.compute import make_fabric
from ifnormal.common.errors import DivergenceError
from ifnormal.common.pixels import quantize
from ifnormal.common.progress import Progress
from ifnormal.config import FitConfig
from ifnormal.detectors.detector import Detector, move_to
from ifnormal.training import objective
from ifnormal.training.batch import TrainingBatch, draw_batch
from ifnormal.training.black_box import distil, fresh_edits
from ifnormal.training.checkpoint import Checkpoint, fit_material, last_checkpoint
from ifnormal.training.images import TrainingImages
from ifnormal.training.state import TrainingState
from ifnormal.training.terms import objective_terms

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_REPORT_EVERY = 25


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
    weights: Tensor | None = None,
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
        weights: (M,) how often each outlier is drawn, up to a factor; by default all alike.

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
        Checkpoint.forget(folder)
    distillation, seen = None, detector
    if detector.is_black_box:
        distillation = distil(detector, normal, outliers, config, seed, fabric, checkpoint)
        detector, seen = distillation.surrogate, distillation.surrogate.as_distilled()
    move_to(detector, fabric.device)
    images = TrainingImages.prepare(
        seen, normal, outliers, config.concepts, fabric.device, sources, weights
    )
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
        fresh = fresh_edits(images, state, distillation.plan.fresh)
        state.surrogate_report = distillation.report(fresh)
    return state


def _train_step(
    detector: Detector, batch: TrainingBatch, state: TrainingState, fabric: Fabric
) -> tuple[dict[str, Tensor], Tensor]:
    """One update of every network; returns the terms before the update, and the edited images."""
    with fabric.autocast():
        edited, overshoot = state.generator(batch.images, batch.targets, batch.concepts)
        modes = batch.edited_modes if state.config.conditional else batch.modes
    discriminator_loss = _discriminator_step(batch, edited, modes, state, fabric)
    with fabric.autocast():
        terms = objective_terms(detector, batch, edited, overshoot, modes, state)
    weights = state.config.weights
    total = torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
    for optimizer in (state.generator_optimizer, state.classifier_optimizer):
        optimizer.zero_grad(set_to_none=True)
    fabric.backward(total)
    state.generator_optimizer.step()
    state.classifier_optimizer.step()
    state.average()
    terms = {"discriminator": discriminator_loss, **terms}
    return {name: value.detach() for name, value in terms.items()}, edited.detach()


def _discriminator_step(
    batch: TrainingBatch, edited: Tensor, modes: Tensor, state: TrainingState, fabric: Fabric
) -> Tensor:
    """Teach D to tell real images from edited ones; returns its loss."""
    with fabric.autocast():
        realness = state.discriminator(
            batch.augment(torch.cat([batch.real_images, edited.detach()]), state.random),
            torch.cat([batch.real_scores, batch.wanted_scores]),
            torch.cat([batch.real_modes, modes]),
        ).float()
    real, generated = realness.split([len(batch.real_images), len(edited)])
    loss = objective.discriminator_loss(real, generated)
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    state.discriminator_optimizer.step()
    return loss


def _require_finite(terms: dict[str, Tensor], state: TrainingState, folder: Path | None) -> None:
    """Raise DivergenceError naming the first term that is not finite."""
    if bool(torch.isfinite(torch.stack(list(terms.values()))).all()):
        return
    name = next(name for name, value in terms.items() if not bool(torch.isfinite(value)))
    checkpoint = last_checkpoint(folder)
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
            f"checkpoint is {last_checkpoint(folder)}; begin anew with a lower learning_rate."
        )
