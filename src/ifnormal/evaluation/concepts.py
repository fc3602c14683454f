"""Concept accuracy: does a pair of anomaly and counterfactual show its concept?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifnormal.evaluation.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

CONCEPT_ACCURACY = Metric(
    key="concept_accuracy",
    title="concept accuracy",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=90.0,
    meaning="How often the concept classifier names the concept of a pair of anomaly and "
    "counterfactual: high when the concepts edit in different ways. The paper says above 90.",
    source="Liznerski, Varshneya et al., AAAI 2026, arXiv 2402.14469, section 4",
)
CONCEPT_ACCURACY_FRESH = Metric(
    key="concept_accuracy_fresh",
    title="concept accuracy, fresh classifier",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="As concept accuracy, but by a classifier that was trained afterwards on half of the "
    "pairs and asked about the other half: generator and classifier can have agreed on nothing.",
    source="ifnormal; not in the paper",
)


def concept_accuracy(probabilities: Tensor) -> float:
    """Accuracy of the concept classifier R in %, [0, 100]; 100 / K is guessing.

    Args:
        probabilities: (N, K, K); `[n, k]` is what R says of the pair (anomaly n, counterfactual k).

    Raises:
        ValueError: the shape is another one, or N is 0.
    """
    import torch

    n, k = probabilities.shape[0], probabilities.shape[-1]
    if probabilities.shape != (n, k, k) or not probabilities.numel():
        raise ValueError(f"expected (N, K, K), N > 0, got {tuple(probabilities.shape)}")
    right = probabilities.argmax(2) == torch.arange(k, device=probabilities.device)
    return 100 * right.double().mean().item()


def fresh_concept_accuracy(
    anomalies: Tensor, counterfactuals: Tensor, seed: int, steps: int = 400
) -> float:
    """Accuracy in %, [0, 100], of a new pair classifier on anomalies it was not trained on.

    Half of the anomalies, drawn by the seed, serve for training with all their counterfactuals; no
    anomaly is on both sides.

    Args:
        anomalies: (N, C, H, W) uint8, N at least 2.
        counterfactuals: (N, K, C, H, W) uint8.
        seed: of the halves, the weights and the batches.
        steps: optimizer steps.

    Raises:
        ValueError: the shapes do not fit together, or N is less than 2.
    """
    import torch

    from ifnormal.evaluation.pair_classifier import pairs, train_pair_classifier

    n, k = counterfactuals.shape[:2]
    if n < 2 or anomalies.shape != (n, *counterfactuals.shape[2:]):
        raise ValueError(
            f"expected (N, C, H, W) and (N, K, C, H, W), N > 1, "
            f"got {tuple(anomalies.shape)} and {tuple(counterfactuals.shape)}"
        )
    if k == 1:
        return 100.0  # there is nothing to mistake it for
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    learn, ask = order[: n // 2], order[n // 2 :]
    classifier = train_pair_classifier(
        pairs(anomalies[learn], counterfactuals[learn]), k, seed, steps
    )
    questions = pairs(anomalies[ask], counterfactuals[ask])
    with torch.inference_mode():
        starts = range(0, len(questions), 512)
        logits = torch.cat([classifier(questions[i : i + 512].float() / 255) for i in starts])
    return concept_accuracy(logits.view(len(ask), k, k))
