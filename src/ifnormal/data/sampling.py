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
