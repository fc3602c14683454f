"""Plain pixel-gradient counterfactuals: the contrast that shows what validity alone is worth."""

from __future__ import annotations

import torch
from torch import Tensor

from ifnormal.common.pixels import quantize, to_float
from ifnormal.detectors.detector import Detector
from ifnormal.explainers.scored_edits import ScoredEdits, explanation_of
from ifnormal.explanation.explanation import Explanation


def gradient_counterfactuals(
    detector: Detector, anomalies: Tensor, names: tuple[str, ...], steps: int = 200
) -> Explanation:
    """Descend on the pixels of each anomaly (Wachter et al. 2017); stop once it is accepted.

    Minimises the detector's log-odds plus the pixel distance, by Adam. Nothing keeps the images
    realistic, and so they stay anomalies to every eye but the detector's.

    Args:
        detector: gives the gradient.
        anomalies: (N, C, H, W) uint8.
        names: N names.
        steps: gradient steps.

    Returns:
        An Explanation with K = 1 and no traversals.
    """
    start = to_float(anomalies)
    edited = start.clone().requires_grad_(True)
    result, accepted = start.clone(), detector(start).detach() <= detector.threshold
    optimizer = torch.optim.Adam([edited], lr=0.02)
    for _ in range(steps):
        log_odds, _ = detector.inspect(edited)
        loss = (log_odds + 0.01 * (edited - start).abs().sum((1, 2, 3))).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            edited.clamp_(0, 1)
            # As saved, in 8 bit; what has been accepted stays as it was then.
            result[~accepted] = to_float(quantize(edited))[~accepted]
            accepted |= detector(result) <= detector.threshold
    result = quantize(result)
    scored = ScoredEdits.by(detector, anomalies, result[:, None])
    facts = {"method": "gradient descent on the pixels", "steps": steps}
    return explanation_of(detector, scored, names, facts, with_heatmaps=False)
