"""AuROC: can the detector still tell counterfactuals from normal images?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifnormal.evaluation.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

NORMALITY_AUROC = Metric(
    key="normality_auroc",
    title="AuROC normal against counterfactuals",
    unit="%",
    direction="nearer",
    ideal=50.0,
    paper=55.6,
    meaning="How often the detector scores a counterfactual above a normal test image: at 50 it "
    "cannot tell them apart, at 100 it still recognises every counterfactual as anomalous.",
    source="Liznerski, Varshneya et al., AAAI 2026, arXiv 2402.14469, section 4",
)
DETECTOR_AUROC = Metric(
    key="detector_auroc",
    title="detector AuROC",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=98.0,
    meaning="How often the detector scores an anomaly above a normal test image: at 50 it guesses.",
    source="Liznerski, Varshneya et al., AAAI 2026, arXiv 2402.14469, section 4",
)


def auroc(negative_scores: Tensor, positive_scores: Tensor) -> float:
    """Area under the ROC curve in %, [0, 100]: P(positive > negative) + P(equal) / 2.

    Args:
        negative_scores: scores in [0, 1] of what should score low, any shape.
        positive_scores: scores in [0, 1] of what should score high, any shape.

    Raises:
        ValueError: one side is empty, or a score is not in [0, 1].
    """
    import torch
    from torchmetrics.functional.classification import binary_auroc

    scores = torch.cat([negative_scores.flatten(), positive_scores.flatten()]).detach()
    labels = torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
    labels[negative_scores.numel() :] = 1
    if not negative_scores.numel() or not positive_scores.numel():
        raise ValueError("auroc needs at least one score on either side")
    # torchmetrics would take other numbers for logits, and its sigmoid makes ties of large ones.
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        raise ValueError("auroc needs scores in [0, 1]")
    return 100 * float(binary_auroc(scores, labels, thresholds=None))


def normality_auroc(normal_scores: Tensor, counterfactual_scores: Tensor) -> list[float]:
    """AuROC in % of normal scores against each concept's counterfactual scores; ideal 50.

    Args:
        normal_scores: (N0,) detector scores of normal test images, in [0, 1].
        counterfactual_scores: (N, K) detector scores of counterfactuals, in [0, 1].

    Returns:
        One figure for each of the K concepts, [0, 100].

    Raises:
        ValueError: there are no scores, or one is not in [0, 1].
    """
    concepts = range(counterfactual_scores.shape[1])
    return [auroc(normal_scores, counterfactual_scores[:, k]) for k in concepts]
