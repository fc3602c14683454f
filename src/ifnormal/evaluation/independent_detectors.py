"""IndependentDetectors: whom to ask for a second opinion about every counterfactual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ifnormal.detectors.builtin.feature_detector import shared_features
from ifnormal.detectors.detector import Detector, log_odds_of
from ifnormal.detectors.fingerprint import detector_fingerprint
from ifnormal.evaluation.auroc import auroc
from ifnormal.explanation.entries import SecondDetector
from ifnormal.explanation.explanation import Explanation
from ifnormal.explanation.opinions import Opinions

_AT_ONCE = 64  # images whose features are in memory together


@dataclass(frozen=True, eq=False)
class IndependentDetectors:
    """Detectors that neither the explained detector nor the generator ever met.

    An edit that exploits a weakness of one detector seldom passes others of another kind (transfer
    of adversarial examples: Papernot et al., arXiv 1605.07277).

    Attributes:
        detectors: D by name, of the same image shape as the explained one.
        facts: D, what each says of held-out images.
        normal_accepted_by: D + 1 numbers: how many held-out real normal images are accepted by
            0, 1, ..., D of them.
    """

    detectors: Mapping[str, Detector]
    facts: tuple[SecondDetector, ...]
    normal_accepted_by: tuple[int, ...]

    @classmethod
    def tried_on(
        cls, detectors: Mapping[str, Detector], normal: Tensor, outliers: Tensor | None = None
    ) -> IndependentDetectors:
        """Try detectors on images that none of them was trained or calibrated on.

        Args:
            detectors: by name, at least one.
            normal: (N, C, H, W) uint8 real normal images; N may be 0.
            outliers: (M, C, H, W) uint8 synthetic outliers, M at least 1; None to leave out AuROC.
        """
        of_normal, facts = _scores(detectors, normal), []
        of_outliers = None if outliers is None else _scores(detectors, outliers)
        thresholds = torch.tensor([float(detector.threshold) for detector in detectors.values()])
        accepts = of_normal <= thresholds
        for d, (name, detector) in enumerate(detectors.items()):
            separates = None
            if of_outliers is not None and len(normal):
                separates = auroc(of_normal[:, d], of_outliers[:, d]) / 100
            accepted = float(accepts[:, d].double().mean()) if len(normal) else None
            facts.append(
                SecondDetector(name, float(detector.threshold), len(normal), accepted, separates)
            )
        by = torch.bincount(accepts.sum(1), minlength=len(detectors) + 1)
        return cls(dict(detectors), tuple(facts), tuple(by.tolist()) if len(normal) else ())

    def ask(self, explanation: Explanation, most: int | None = None) -> Explanation:
        """The explanation with their opinion of its anomalies and counterfactuals.

        Args:
            explanation: of N anomalies, with K counterfactuals each.
            most: of how many anomalies, from the first on; by default of all.
        """
        n, k, d = *explanation.counterfactuals.shape[:2], len(self.detectors)
        edits = explanation.counterfactuals[:most]
        before, after = torch.full((n, d), torch.nan), torch.full((n, k, d), torch.nan)
        before[: len(edits)] = _scores(self.detectors, explanation.anomalies[:most])
        after[: len(edits)] = _scores(self.detectors, edits.flatten(0, 1)).view(-1, k, d)
        opinions = Opinions(self.facts, before, after, self.normal_accepted_by)
        return replace(explanation, second_opinion=opinions)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What tells these detectors from others; JSON-compatible."""
        return {name: detector_fingerprint(one) for name, one in self.detectors.items()}


def _scores(detectors: Mapping[str, Detector], images: Tensor) -> Tensor:
    """(N, D) calibrated scores of (N, C, H, W) uint8 images."""
    scores = [torch.zeros(0, len(detectors))]
    for part in images.split(_AT_ONCE) if len(images) else ():
        with shared_features(detectors.values()):
            each = [log_odds_of(one, part).sigmoid() for one in detectors.values()]
        scores.append(torch.stack(each, 1))
    return torch.cat(scores)
