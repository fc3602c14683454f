"""Queries: counted, limited access to a black box, and a buffer of its latest answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.storage import load_tensors, save_tensors
from ifnormal.detectors.detector import Detector, log_odds_of

# Scores of log-odds beyond these are 0 or 1 for all purposes.
_EXTREME = 15.0
ANSWERS_FOLDER = "queries"


class Queries:
    """Access to a black box within a budget; every image that it scores is one query.

    Attributes:
        budget: the most queries there may be.
        used: the number of queries so far.
    """

    def __init__(self, detector: Detector, budget: int) -> None:
        self._detector, self.budget, self.used = detector, budget, 0

    @property
    def left(self) -> int:
        """How many queries the budget still allows."""
        return self.budget - self.used

    def ask(self, images: Tensor) -> Tensor:
        """Calibrated log-odds (n,) on the CPU of the first n = min(N, left) of N uint8 images.

        Raises:
            UserError: the black box gave scores that are no numbers.
        """
        images = images[: self.left].cpu()
        if len(images) == 0:
            return torch.zeros(0)
        self.used += len(images)
        log_odds = log_odds_of(self._detector, images)
        broken = int(log_odds.isnan().sum())
        if broken:
            raise UserError(
                f"The detector gave {broken} of {len(images)} images scores that are not numbers; "
                "it must return a finite score for every image."
            )
        return log_odds.clamp(-_EXTREME, _EXTREME)


class AnswerBuffer:
    """A ring buffer of queried images and their answers; its files are written once.

    Attributes:
        capacity: how many images are kept.
        count: how many images were added in all.
    """

    def __init__(self, shape: tuple[int, int, int], capacity: int) -> None:
        self.capacity, self.count, self._saved = capacity, 0, 0
        # The operating system provides this memory only when it is written to.
        self._images = torch.empty(capacity, *shape, dtype=torch.uint8)
        self._log_odds = torch.empty(capacity)
        self._parts: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return min(self.count, self.capacity)

    def add(self, images: Tensor, log_odds: Tensor) -> None:
        """Add (N, C, H, W) uint8 images and (N,) answers in place of the oldest."""
        places = torch.arange(self.count, self.count + len(images)) % self.capacity
        self.count += len(images)
        self._images[places[-self.capacity :]] = images[-self.capacity :].cpu()
        self._log_odds[places[-self.capacity :]] = log_odds[-self.capacity :]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw images (count, C, H, W) uint8 and their log-odds (count,) at random."""
        places = torch.randint(len(self), (count,), generator=generator)
        return self._images[places], self._log_odds[places]

    def save(self, folder: Path) -> list[tuple[int, int]]:
        """Write the answers added since the last call to a further file.

        Returns:
            First and last + 1 of the answers in each file, for `restore`. A checkpoint names them;
            other files are ignored.
        """
        first = max(self._saved, self.count - self.capacity)
        if first < self.count:
            places = torch.arange(first, self.count) % self.capacity
            tensors = {"images": self._images[places], "log_odds": self._log_odds[places]}
            part = (first, self.count)
            save_tensors(
                folder / ANSWERS_FOLDER, _name(part), tensors, {"format": "ifnormal.queries"}
            )
            self._parts.append(part)
            self._saved = self.count
        self._parts = [part for part in self._parts if part[1] > self.count - self.capacity]
        return list(self._parts)

    def restore(self, folder: Path, parts: list[Any]) -> None:
        """Read the files that `save` named.

        Raises:
            UserError: one is missing or damaged.
        """
        for first, last in parts:
            tensors, _ = load_tensors(folder / ANSWERS_FOLDER, _name((first, last)))
            self.count = first
            self.add(tensors["images"], tensors["log_odds"])
        self._saved, self._parts = self.count, [(first, last) for first, last in parts]

    def delete_others(self, folder: Path) -> None:
        """Delete the files that the last `save` or `restore` did not name."""
        delete_answers(folder, self._parts)


def delete_answers(folder: Path, kept: list[tuple[int, int]] | None = None) -> None:
    """Delete the files of answers in `folder` except those in `kept`."""
    names = tuple(_name(part) for part in kept or [])
    for path in (folder / ANSWERS_FOLDER).glob("answers-*"):
        if not path.name.startswith(names or ("\0",)):
            path.unlink(missing_ok=True)


def _name(part: tuple[int, int]) -> str:
    return f"answers-{part[0]:09d}-{part[1]:09d}"
