"""train_judge: from a setup's labelled images to a judge that is hard to fool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor
from torch.nn import functional

from ifnormal.common.compute import channels_last, make_fabric
from ifnormal.common.errors import DivergenceError, UserError
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.evaluation.judge.images import COLOR, IGNORE, JUNK_KINDS, JudgeBatch, Labels, vary
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.evaluation.judge.network import JudgeNetwork
from ifnormal.evaluation.judge.photographs import PHOTOGRAPH_JUNK, vary_photographs

CLEAN, EACH = 104, 8  # images a step: labelled ones, and of each kind of junk
# Photographs differ more among themselves, and their junk is told more easily.
PHOTOGRAPH_CLEAN, PHOTOGRAPH_EACH = 128, 4
STEPS = {"drawings": 900, "photographs": 3000}
_RATE = {"drawings": 6e-3, "photographs": 4e-3}
# Part of every key: a judge of another recipe is another judge.
_RECIPE = 2

Junk = Callable[[Tensor, Labels, Generator], JudgeBatch]


def judge_steps(setup: AnomalySetup) -> int:
    """Optimizer steps where nobody says how many."""
    return STEPS[setup.pictures]


def may_mirror(setup: AnomalySetup) -> bool:
    """Whether left and right may change places: `facts["mirror"]` of a setup of photographs."""
    return setup.pictures == "photographs" and bool(setup.facts.get("mirror", False))


def judge_label(setup: AnomalySetup) -> str:
    """What a judge of this setup knows, for the label of its figures.

    Of drawings it is their attributes ("digit-color"), of photographs the family ("cifar10").
    """
    family = setup.name.split("/")[0]
    return family if setup.pictures == "photographs" else "-".join(setup.attribute_names)


def judge_key(setup: AnomalySetup, seed: int, steps: int | None = None) -> str:
    """Hash of everything that makes a judge what it is; setups of one key share one judge.

    Args:
        setup: as for `train_judge`.
        seed: as for `train_judge`.
        steps: as for `train_judge`.

    Raises:
        UserError: the setup has no labelled images.
    """
    digest = hashlib.sha256()
    facts = {
        "recipe": _RECIPE,
        "label": judge_label(setup),
        "pictures": setup.pictures,
        "mirror": may_mirror(setup),
        "names": {name: list(values) for name, values in setup.attribute_names.items()},
        "seed": seed,
        "steps": steps or judge_steps(setup),
    }
    digest.update(json.dumps(facts).encode())
    labels = [setup.judge_attributes[name] for name in setup.attribute_names]
    for tensor in (labelled_images(setup), *labels, _strangers(setup)):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def labelled_images(setup: AnomalySetup) -> Tensor:
    """The setup's labelled images, (N, C, H, W) uint8.

    Raises:
        UserError: it has none.
    """
    if setup.judge_images is None or not len(setup.judge_images) or not setup.judge_attributes:
        raise UserError(f"The setup {setup.name} has no labelled images to train a judge with.")
    return setup.judge_images


def junk_kinds(setup: AnomalySetup) -> dict[str, Junk]:
    """Which junk a judge of this setup has to refuse."""
    if setup.pictures == "photographs":
        return PHOTOGRAPH_JUNK
    return {k: v for k, v in JUNK_KINDS.items() if k != "recolored" or COLOR in _names(setup)}


def draw_batch(setup: AnomalySetup, rng: Generator, clean: int, each: int) -> JudgeBatch:
    """One training batch: `clean` varied images and `each` of every kind of junk.

    Raises:
        UserError: the setup has no labelled images for a judge.
    """
    source, names = labelled_images(setup), _names(setup)

    def sample(count: int) -> tuple[Tensor, dict[str, Tensor]]:
        chosen = torch.randint(len(source), (count,), generator=rng)
        labels = {name: setup.judge_attributes[name][chosen] for name in names}
        return source[chosen].float() / 255, labels

    images, labels = sample(clean)
    parts = [JudgeBatch(images, labels, torch.ones(clean))]
    for kind, make in junk_kinds(setup).items():
        images, labels = sample(each)
        if kind == "outliers":
            strangers = _strangers(setup)
            chosen = torch.randint(len(strangers), (each,), generator=rng)
            images = strangers[chosen].float() / 255
        parts.append(make(images, labels, rng))
    images = torch.cat([part.images for part in parts])
    if setup.pictures == "photographs":
        images = vary_photographs(images, rng, may_mirror(setup))
    else:
        images = vary(images, rng)
    return JudgeBatch(
        images,
        {name: torch.cat([part.labels[name] for part in parts]) for name in names},
        torch.cat([part.weights for part in parts]),
    )


def judge_loss(logits: Mapping[str, Tensor], batch: JudgeBatch) -> Tensor:
    """Weighted cross entropy, summed over attributes; junk is the last class of each."""
    total = torch.zeros(())
    for name, scores in logits.items():
        labels = batch.labels[name].to(scores.device)
        weights = batch.weights.to(scores.device) * (labels != IGNORE)
        targets = torch.where(labels < 0, scores.shape[1] - 1, labels)
        losses = functional.cross_entropy(
            scores.float(), targets, reduction="none", label_smoothing=0.02
        )
        total = total.to(scores.device) + (losses * weights).sum() / weights.sum().clamp_min(1)
    return total


def train_judge(
    setup: AnomalySetup, seed: int, steps: int | None = None, width: int | None = None
) -> AttributeJudge:
    """Train a judge on `setup.judge_images`; the same seed gives the same judge.

    Drawings and photographs (`setup.pictures`) have each their own network, variation and junk.
    Computes in bfloat16 where that is native.

    Args:
        setup: needs `judge_images`, `judge_attributes`, `attribute_names`, and `judge_outliers` or
            else `outliers`.
        seed: of weights, drawing and variation.
        steps: optimizer steps of about 150 images; by default `judge_steps`.
        width: channels of the first stage; by default what suits the pictures.

    Raises:
        UserError: the setup has no labelled images, or they are too small.
        DivergenceError: the loss is no longer a finite number.
    """
    steps = steps or judge_steps(setup)
    rng = Generator().manual_seed(seed)
    images, fabric = labelled_images(setup), make_fabric()
    drawings = setup.pictures == "drawings"
    clean, each = (CLEAN, EACH) if drawings else (PHOTOGRAPH_CLEAN, PHOTOGRAPH_EACH)
    answers = {name: len(values) + 1 for name, values in setup.attribute_names.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = JudgeNetwork(setup.shape, answers, width, setup.pictures)
    network = network.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    rate = _RATE[setup.pictures]
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 2))
    for step in range(steps):
        batch = draw_batch(setup, rng, clean, each)
        with fabric.autocast():
            logits = network(channels_last(batch.images.to(fabric.device)))
        loss = judge_loss(logits, batch)
        if not torch.isfinite(loss):
            raise DivergenceError(f"The judge's loss became {loss.item()} at step {step}.")
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        schedule.step()
    facts = {"seed": seed, "steps": steps, "images": len(images)}
    network = network.to(memory_format=torch.contiguous_format)
    names = dict(setup.attribute_names)
    return AttributeJudge(network.eval(), setup.shape, names, judge_label(setup), facts=facts)


def _names(setup: AnomalySetup) -> list[str]:
    return list(setup.attribute_names)


def _strangers(setup: AnomalySetup) -> Tensor:
    """Junk that the setup brings along, (N, C, H, W) uint8."""
    return setup.outliers if setup.judge_outliers is None else setup.judge_outliers
