"""Random choices that can be repeated: seeded by purpose, and stratified by label."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def generator(seed: int, purpose: str) -> torch.Generator:
    """Make a random generator of its own for each purpose.

    Choices for one purpose stay what they are when another one draws more or fewer numbers.
    """
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def stratified(labels: Tensor, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Split indices into about `count` chosen ones and the rest, with each label in proportion.

    Args:
        labels: (N,) int64.
        count: how many to choose, of N; rounded down within each label, but at least one of each.
        rng: decides which.

    Returns:
        Indices of the chosen and of the others, both ascending.
    """
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in sorted(set(labels.tolist())):
        members = (labels == label).nonzero().flatten()
        share = max(1, len(members) * count // len(labels))
        chosen[members[torch.randperm(len(members), generator=rng)[:share]]] = True
    return chosen.nonzero().flatten(), (~chosen).nonzero().flatten()


def evenly(labels: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Choose at most `count` indices, as many of each label as possible.

    Args:
        labels: (N,) int64.
        count: how many; 0 and N or more mean all.
        rng: decides which.

    Returns:
        Indices, ascending. No label has more than one fewer than another, unless it has no more.
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
    """Choose at most `count` indices, each label in proportion, in an order without any.

    Args:
        labels: (N,) int64.
        count: how many; 0 and N or more mean all.
        rng: decides which, and the order.
    """
    at = torch.arange(len(labels))
    if 0 < count < len(labels):
        at, _ = stratified(labels, count, rng)
    at = at[torch.randperm(len(at), generator=rng)]
    return at[:count] if count else at
