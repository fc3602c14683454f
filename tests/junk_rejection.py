"""How much junk a judge refuses: what its training is for, and what no figure of a run says."""

from __future__ import annotations

import torch
from torch import Generator

from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.evaluation.judge.images import JUNK
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.evaluation.judge.training import draw_batch, junk_kinds


def junk_rejection(
    judge: AttributeJudge, setup: AnomalySetup, seed: int, each: int = 256
) -> dict[str, float]:
    """Share of junk that the judge refuses, in % for each kind, [0, 100]; more is better.

    Refused means that at least one attribute that became junk is called so.
    """
    rng = Generator().manual_seed(seed)
    batch = draw_batch(setup, rng, 0, each)
    predicted = judge.predict(batch.images.mul(255).round().to(torch.uint8))
    rates = {}
    for index, kind in enumerate(junk_kinds(setup)):
        part = slice(index * each, (index + 1) * each)
        junk = torch.stack([batch.labels[name][part] == JUNK for name in judge.names])
        called = torch.stack([predicted[name][part] == JUNK for name in judge.names])
        counted = junk.any(0)
        rates[kind] = 100 * (junk & called).any(0)[counted].double().mean().item()
    return rates
