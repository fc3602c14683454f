"""Substitutability: can counterfactuals stand in for real normal images in training?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ifnormal.evaluation.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

SUBSTITUTABILITY = Metric(
    key="substitutability",
    title="substitutability",
    unit="%",
    direction="higher",
    ideal=100.0,
    paper=None,
    meaning="AuROC on real test images of a classifier whose normal training images were all "
    "counterfactuals; `substitutability_real` is that of the same classifier with real normal "
    "images, and what there is to reach.",
    source="Ghandeharioun et al., arXiv 2105.15164 (DISSECT), section 4; for anomaly detection, "
    "ifnormal",
)


LEAST_ANOMALIES = 4


@dataclass(frozen=True)
class Substitutability:
    """AuROC in %, [0, 100], on the same real test images.

    Attributes:
        counterfactuals: of a classifier that took counterfactuals for normal images.
        real: of one that had as many real normal images instead.
    """

    counterfactuals: float
    real: float


def substitutability(
    anomalies: Tensor,
    counterfactuals: Tensor,
    train_normal: Tensor,
    test_normal: Tensor,
    seed: int,
    steps: int = 200,
) -> Substitutability:
    """Train normal-against-anomalous on counterfactuals, test on real images.

    The anomalies are halved by the seed. One half, and the counterfactuals of these same ones, are
    the two classes that a small new classifier is trained with; it is asked about the other half
    and real normal images. Counterfactuals of the other half are left out: they look much like the
    anomalies that they came from.

    DISSECT replaces the whole training set of a new classifier by generated images, labelled as
    the explained classifier sees them, and reports accuracy, precision and recall on real data.
    Here only the normal class is replaced, since a counterfactual of an anomaly has no other; the
    labels are those of the setup; the classifier is always the same small network; and AuROC takes
    the place of accuracy, as the test classes are of different sizes. A generator whose pictures
    can be told by their artefacts fails here: the classifier learns those instead.

    Args:
        anomalies: (N, C, H, W) uint8, N at least `LEAST_ANOMALIES`.
        counterfactuals: (N, K, C, H, W) uint8.
        train_normal: (M, C, H, W) uint8 real normal images, none of them in `test_normal`.
        test_normal: (T, C, H, W) uint8 real normal images to test with.
        seed: of the halves, the weights and the batches.
        steps: optimizer steps of 64 images.

    Raises:
        ValueError: the shapes do not fit together, or there are too few images.
    """
    import torch

    n, k = counterfactuals.shape[:2]
    if n < LEAST_ANOMALIES or anomalies.shape != (n, *counterfactuals.shape[2:]):
        raise ValueError(
            f"expected (N, C, H, W) and (N, K, C, H, W), N >= {LEAST_ANOMALIES}, "
            f"got {tuple(anomalies.shape)} and {tuple(counterfactuals.shape)}"
        )
    if not len(train_normal) or not len(test_normal):
        raise ValueError("substitutability needs normal images to train and to test with")
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(n, generator=rng)
    learn, ask = order[: n // 2], order[n // 2 :]
    taken = torch.randperm(len(train_normal), generator=rng)[: len(learn) * k]
    normals = (counterfactuals[learn].flatten(0, 1), train_normal[taken])
    found = [
        _auroc(anomalies[learn], normal, anomalies[ask], test_normal, seed, steps)
        for normal in normals
    ]
    return Substitutability(counterfactuals=found[0], real=found[1])


def _auroc(
    anomalies: Tensor,
    normal: Tensor,
    test_anomalies: Tensor,
    test_normal: Tensor,
    seed: int,
    steps: int,
) -> float:
    import torch

    from ifnormal.evaluation.auroc import auroc
    from ifnormal.evaluation.small_classifier import SmallClassifier, train_classifier

    rng = torch.Generator().manual_seed(seed)
    # As many of either class: repeated, not weighted, as batches are drawn from them.
    count = max(len(anomalies), len(normal))
    sides = [side[torch.arange(count) % len(side)] for side in (normal, anomalies)]
    labels = torch.arange(2).repeat_interleave(count)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SmallClassifier(anomalies.shape[1], 2)
    classifier = train_classifier(network, torch.cat(sides), labels, rng, steps)

    def scores(images: Tensor) -> Tensor:
        with torch.inference_mode():
            parts = [classifier(part.float() / 255) for part in images.split(512)]
        return torch.cat(parts).double().softmax(1)[:, 1]

    return auroc(scores(test_normal), scores(test_anomalies))
