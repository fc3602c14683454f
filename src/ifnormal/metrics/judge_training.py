"""train_judge: from a setup's labelled images to a judge that is hard to fool."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from ifnormal.data.setup import AnomalySetup
from ifnormal.errors import DivergenceError, UserError
from ifnormal.metrics.judge import AttributeJudge, JudgeNetwork
from ifnormal.metrics.judge_images import COLOR, IGNORE, JUNK, JUNK_KINDS, JudgeBatch, vary

CLEAN, EACH = 104, 8  # images a step: labelled ones, and of each kind of junk


def labelled_images(setup: AnomalySetup) -> Tensor:
    """The setup's labelled images, (N, C, H, W) uint8.

    Raises:
        UserError: it has none.
    """
    if setup.judge_images is None or not len(setup.judge_images) or not setup.judge_attributes:
        raise UserError(f"The setup {setup.name} has no labelled images to train a judge with.")
    return setup.judge_images


def draw_batch(setup: AnomalySetup, rng: Generator, clean: int, each: int) -> JudgeBatch:
    """One training batch: `clean` varied images and `each` of every kind of junk.

    Raises:
        UserError: the setup has no labelled images for a judge.
    """
    source = labelled_images(setup)

    def sample(count: int) -> tuple[Tensor, dict[str, Tensor]]:
        chosen = torch.randint(len(source), (count,), generator=rng)
        labels = {name: setup.judge_attributes[name][chosen] for name in setup.attribute_names}
        return source[chosen].float() / 255, labels

    images, labels = sample(clean)
    parts = [JudgeBatch(images, labels, torch.ones(clean))]
    for kind, make in JUNK_KINDS.items():
        if kind == "recolored" and COLOR not in setup.attribute_names:
            continue
        images, labels = sample(each)
        if kind == "outliers":
            chosen = torch.randint(len(setup.outliers), (each,), generator=rng)
            images = setup.outliers[chosen].float() / 255
        parts.append(make(images, labels, rng))
    return JudgeBatch(
        vary(torch.cat([part.images for part in parts]), rng),
        {name: torch.cat([part.labels[name] for part in parts]) for name in setup.attribute_names},
        torch.cat([part.weights for part in parts]),
    )


def judge_loss(logits: dict[str, Tensor], batch: JudgeBatch) -> Tensor:
    """Weighted cross entropy, summed over attributes; junk is the last class of each."""
    total = torch.zeros(())
    for name, scores in logits.items():
        labels = batch.labels[name].to(scores.device)
        weights = batch.weights.to(scores.device) * (labels != IGNORE)
        targets = torch.where(labels < 0, scores.shape[1] - 1, labels)
        losses = functional.cross_entropy(scores, targets, reduction="none", label_smoothing=0.02)
        total = total.to(scores.device) + (losses * weights).sum() / weights.sum().clamp_min(1)
    return total


def train_judge(
    setup: AnomalySetup,
    seed: int,
    steps: int = 900,
    device: torch.device | str = "cpu",
    width: int = 24,
) -> AttributeJudge:
    """Train a judge on `setup.judge_images`; the same seed gives the same judge.

    Args:
        setup: needs `judge_images`, `judge_attributes`, `attribute_names` and `outliers`.
        seed: of weights, drawing and variation.
        steps: optimizer steps of about 160 images.
        device: where to train.
        width: channels of the first stage.

    Raises:
        UserError: the setup has no labelled images, or they are too small.
        DivergenceError: the loss is no longer a finite number.
    """
    rng = Generator().manual_seed(seed)
    images = labelled_images(setup)
    answers = {name: len(values) + 1 for name, values in setup.attribute_names.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = JudgeNetwork(setup.shape, answers, width)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=6e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=max(steps, 2))
    for step in range(steps):
        batch = draw_batch(setup, rng, CLEAN, EACH)
        pixels = batch.images.to(device, memory_format=torch.channels_last)
        loss = judge_loss(network(pixels), batch)
        if not torch.isfinite(loss):
            raise DivergenceError(f"The judge's loss became {loss.item()} at step {step}.")
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    facts = {"seed": seed, "steps": steps, "images": len(images)}
    network = network.to(memory_format=torch.contiguous_format)
    return AttributeJudge(network.eval(), setup.shape, dict(setup.attribute_names), facts=facts)


def junk_rejection(
    judge: AttributeJudge, setup: AnomalySetup, seed: int, each: int = 256
) -> dict[str, float]:
    """Share of junk that the judge refuses, in % for each kind, [0, 100]; more is better.

    Refused means that at least one attribute that became junk is called so.
    """
    rng = Generator().manual_seed(seed)
    batch = draw_batch(setup, rng, 0, each)
    predicted = judge.predict(batch.images.mul(255).round().to(torch.uint8))
    kinds = [k for k in JUNK_KINDS if k != "recolored" or COLOR in setup.attribute_names]
    rates = {}
    for index, kind in enumerate(kinds):
        part = slice(index * each, (index + 1) * each)
        junk = torch.stack([batch.labels[name][part] == JUNK for name in judge.names])
        called = torch.stack([predicted[name][part] == JUNK for name in judge.names])
        counted = junk.any(0)
        rates[kind] = 100 * (junk & called).any(0)[counted].double().mean().item()
    return rates
