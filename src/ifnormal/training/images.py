"""TrainingImages: what the generator trains on, and what the frozen detector says of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import to_float
from ifnormal.detectors.detector import Detector

_BATCH = 512


@dataclass(frozen=True)
class TrainingImages:
    """Normal images followed by outliers; scores and features computed once, as φ never changes.

    Attributes:
        images: (N, C, H, W) uint8.
        normal: how many of them, from the start, are normal.
        scores: (N,) detector scores.
        features: (N, F) detector features.
        modes: (N, K) weights of the normal modes; all the same where modes are not told apart.
        sources: (N,) for synthetic outliers, the index of the normal image that each was made of;
            -1 for all others.
        weights: (N - normal,) how often each outlier is drawn, up to a factor; None for all alike.
    """

    images: Tensor
    normal: int
    scores: Tensor
    features: Tensor
    modes: Tensor
    sources: Tensor
    weights: Tensor | None = None

    @classmethod
    def prepare(
        cls,
        detector: Detector,
        normal: Tensor,
        outliers: Tensor,
        concepts: int,
        device: torch.device,
        sources: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> TrainingImages:
        """Score all images with the detector.

        Raises:
            UserError: there are no normal images or no outliers, or the detector does not tell
                them apart.
        """
        cls.require_usable(detector, normal, outliers, concepts)
        images = torch.cat([normal, outliers]).to(device)
        log_odds, features = [], []
        with torch.no_grad():
            for part in images.split(_BATCH):
                odds, feature = detector.inspect(to_float(part))
                log_odds.append(odds.float())
                features.append(feature.float())
        scores = torch.cat(log_odds).sigmoid()
        low, high = scores[: len(normal)].median(), scores[len(normal) :].median()
        if low >= high:
            raise UserError(
                f"The detector gives its outliers no higher scores ({high:.3f}) than normal images "
                f"({low:.3f}); train it longer, or give outliers that it flags."
            )
        modes = torch.full((len(images), concepts), 1 / concepts, device=device)
        unknown = torch.full((len(images),), -1)
        if sources is not None:
            unknown[len(normal) :] = sources
        return cls(
            images,
            len(normal),
            scores,
            torch.cat(features),
            modes,
            unknown.to(device),
            weights,
        )

    @staticmethod
    def require_usable(detector: Detector, normal: Tensor, outliers: Tensor, concepts: int) -> None:
        """Refuse images that nothing can be learned from, before any time is spent on them.

        Raises:
            UserError: there are too few, or they are not what detector and generator take.
        """
        least = max(2, concepts)
        if len(normal) < least or len(outliers) == 0:
            raise UserError(
                f"Training takes at least {least} normal images and one outlier; there are "
                f"{len(normal)} and {len(outliers)}. Name a folder with more of them."
            )
        for given in (normal, outliers):
            if given.dtype != torch.uint8 or tuple(given.shape[1:]) != tuple(detector.shape):
                raise UserError(
                    f"Training takes uint8 images of the detector's {tuple(detector.shape)}, these "
                    f"are {given.dtype} of {tuple(given.shape[1:])}; convert them."
                )
        if any(side % 4 for side in detector.shape[1:]):
            raise UserError(
                f"The generator edits images whose sides are multiples of 4, not "
                f"{detector.shape[1]}x{detector.shape[2]}; pad or resize them."
            )

    @cached_property
    def typical_normal(self) -> Tensor:
        """(K,) the median score of the normal images of each mode.

        No real image scores exactly 0. Asked for it, a generator goes on to something more normal
        than normal, at the cost of what it should keep; and modes differ in what is typical.
        """
        scores, modes = self.scores[: self.normal], self.modes[: self.normal]
        if bool((modes == modes[:1, :1]).all()):
            return scores.median().repeat(modes.shape[1])
        owner = modes.argmax(1)
        return torch.stack(
            [
                (scores[owner == k] if bool((owner == k).any()) else scores).median()
                for k in range(self.modes.shape[1])
            ]
        )

    @cached_property
    def typical_outlier(self) -> Tensor:
        """The median score of the outliers, a scalar."""
        return self.scores[self.normal :].median()

    def typical_score(self, target: Tensor, concept: Tensor) -> Tensor:
        """Targets α (N,) as scores from the typical normal one of mode k (N,) to an outlier's."""
        low = self.typical_normal[concept]
        return low + target * (self.typical_outlier - low)

    @property
    def device(self) -> torch.device:
        """Where the images are."""
        return self.images.device

    def draw(self, outlier_share: Tensor, generator: torch.Generator) -> Tensor:
        """Random indices (N,), each of an outlier with the chance (N,) given for it."""
        count = outlier_share.shape
        is_outlier = torch.rand(count, generator=generator) < outlier_share
        normal = torch.randint(self.normal, count, generator=generator)
        outlier = self._outliers(count, generator)
        return torch.where(is_outlier, outlier, normal).to(self.device)

    def _outliers(self, count: torch.Size, generator: torch.Generator) -> Tensor:
        if self.weights is None:
            return torch.randint(self.normal, len(self.images), count, generator=generator)
        drawn = torch.multinomial(self.weights, count.numel(), True, generator=generator)
        return self.normal + drawn.view(count)
