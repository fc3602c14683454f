"""Opinions: what independent detectors say of anomalies and counterfactuals, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ifnormal.explanation.entries import ExplainedImage, Head, Opinion, SecondDetector


@dataclass(frozen=True, eq=False)
class Opinions:
    """What D independent detectors say of N anomalies and of K counterfactuals of each.

    Attributes:
        detectors: D, each with its threshold.
        scores_before: (N, D) calibrated scores of the anomalies, in [0, 1].
        scores_after: (N, K, D) calibrated scores of the counterfactuals, in [0, 1]; NaN where a
            detector was not asked.
        normal_accepted_by: D + 1 numbers: how many held-out real normal images are accepted by
            0, 1, ..., D of the detectors; () if unknown.
    """

    detectors: tuple[SecondDetector, ...]
    scores_before: Tensor
    scores_after: Tensor
    normal_accepted_by: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        d, shape = len(self.detectors), tuple(self.scores_after.shape)
        if not d or len(shape) != 3 or shape[2] != d:
            raise ValueError(f"scores_after: {shape}, expected (N, K, {d}), at least one detector")
        if tuple(self.scores_before.shape) != (shape[0], d):
            raise ValueError(f"scores_before: {tuple(self.scores_before.shape)}, expected (N, {d})")
        if self.normal_accepted_by and len(self.normal_accepted_by) != d + 1:
            raise ValueError(f"normal_accepted_by must be {d + 1} numbers, or ()")

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K)."""
        return self.scores_after.shape[0], self.scores_after.shape[1]

    @property
    def accepts_before(self) -> Tensor:
        """(N, D) bool: the detector does not flag the anomaly."""
        return self.scores_before <= self._thresholds

    @property
    def accepts_after(self) -> Tensor:
        """(N, K, D) bool: the detector was asked and does not flag the counterfactual."""
        return self.scores_after <= self._thresholds

    @property
    def asked(self) -> Tensor:
        """(N, K) bool: the counterfactual has an opinion of each detector."""
        return ~self.scores_after.isnan().any(2)

    def select(self, rows: Sequence[int]) -> Opinions:
        """The opinions of these anomalies."""
        kept = list(rows)
        return replace(
            self, scores_before=self.scores_before[kept], scores_after=self.scores_after[kept]
        )

    def without(self, where: Tensor) -> Opinions:
        """A copy that has no opinion of the counterfactuals where the (N, K) mask is True."""
        return replace(
            self, scores_after=self.scores_after.masked_fill(where[..., None], torch.nan)
        )

    def before(self, n: int) -> tuple[Opinion, ...]:
        """Entries of anomaly n; () where a detector was not asked."""
        return self._entries(self.scores_before[n])

    def after(self, n: int, k: int) -> tuple[Opinion, ...]:
        """Entries of counterfactual k of anomaly n; () where a detector was not asked."""
        return self._entries(self.scores_after[n, k])

    @classmethod
    def of_entries(cls, head: Head, images: Sequence[ExplainedImage]) -> Opinions | None:
        """From the entries of explained images; None where the head names no detector."""
        if not head.second_opinion:
            return None
        d = len(head.second_opinion)

        def scores(opinions: Sequence[Opinion]) -> list[float]:
            return [opinion.score for opinion in opinions] or [torch.nan] * d

        after = [
            [scores(edit.second_opinion) for edit in image.counterfactuals] for image in images
        ]
        before = [scores(image.second_opinion) for image in images]
        return cls(
            tuple(head.second_opinion),
            torch.tensor(before, dtype=torch.float32).view(len(images), d),
            torch.tensor(after, dtype=torch.float32).view(len(images), head.concepts, d),
            tuple(head.normal_accepted_by),
        )

    def agrees_with(self, images: Sequence[ExplainedImage]) -> bool:
        """Whether these entries accept what the scores and thresholds say."""
        nothing = [False] * len(self.detectors)

        def accepts(opinions: Sequence[Opinion]) -> list[bool]:
            return [opinion.accepts for opinion in opinions] or nothing

        after = [
            [accepts(edit.second_opinion) for edit in image.counterfactuals] for image in images
        ]
        before = [accepts(image.second_opinion) for image in images]
        return after == self.accepts_after.tolist() and before == self.accepts_before.tolist()

    @property
    def _thresholds(self) -> Tensor:
        return torch.tensor([detector.threshold for detector in self.detectors])

    def _entries(self, scores: Tensor) -> tuple[Opinion, ...]:
        if scores.isnan().any():
            return ()
        return tuple(
            Opinion(second.detector, score, accepted)
            for second, score, accepted in zip(
                self.detectors,
                scores.tolist(),
                (scores <= self._thresholds).tolist(),
                strict=True,
            )
        )
