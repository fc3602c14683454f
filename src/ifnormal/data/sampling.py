"""Repeatable random choices: one generator for each purpose, and sampling by label."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(seed: int, purpose: str) -> torch.Generator:
    """A random generator for one purpose.

    Its numbers do not depend on how many are drawn for other purposes.
    """
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def stratified(labels: Tensor, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Split indices into about `count` chosen ones and the rest, each label in proportion.

    Args:
        labels: (N,) int64.
        count: how many of N to choose, rounded down within each label, but at least one of each.
        rng: source of randomness.

    Returns:
        Indices of the chosen and of the others, both ascending.
    """
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in sorted(set(labels.tolist())):
        members = (labels == label).nonzero().flatten()
        share = max(1, len(members) * count // len(labels))
        chosen[members[torch.randperm(len(members), generator=rng)[:share]]] = True
    return chosen.nonzero().flatten(), (~chosen).nonzero().flatten()


def balanced(labels: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Choose at most `count` indices, equally many of each label as far as possible.

    Args:
        labels: (N,) int64.
        count: how many; 0 and N or more mean all.
        rng: source of randomness.

    Returns:
        Indices, ascending.
    """
    if not 0 < count < len(labels):
        return torch.arange(len(labels))
    order = torch.randperm(len(labels), generator=rng)
    # The first of each label, then the second of each, and so on.
    turn = torch.empty(len(labels), dtype=torch.int64)
    for label in labels.unique():
        members = order[labels[order] == label]
        turn[members] = torch.arange(len(members))
    first = order[turn[order].argsort(stable=True)[:count]]
    return first.sort().values


def shuffled_share(labels: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Choose at most `count` indices, each label in proportion, in random order.

    Args:
        labels: (N,) int64.
        count: how many; 0 and N or more mean all.
        rng: source of randomness.
    """
    at = torch.arange(len(labels))
    if 0 < count < len(labels):
        at, _ = stratified(labels, count, rng)
    at = at[torch.randperm(len(at), generator=rng)]
    return at[:count] if count else at
