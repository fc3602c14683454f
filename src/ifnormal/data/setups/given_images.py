"""A setup of given normal images: what is held out, and the outliers that are made of the rest."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.data.sampling import generator
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.synthetic import made_outliers, synthetic_outliers

_LEAST = 4
HELD_OUT = 0.15
_LEAST_HELD_OUT = 8
# Synthetic outliers stay in memory, so their size is limited. A twelfth more is held out.
_MOST_BYTES = 2**27
_VALIDATION_SHARE = 12


def setup_of_images(
    normal: Tensor,
    seed: int,
    *,
    outliers: Tensor | None = None,
    anomalies: Tensor | None = None,
    synthetic: int = 1000,
    name: str = "images",
    described: str = "the normal images that were given",
    facts: Mapping[str, object] | None = None,
) -> AnomalySetup:
    """Build a setup of normal images, and of outliers and anomalies where there are some.

    Of the normal images 15 % are held out for the threshold and 15 % for the figures, at least 8
    each but at most a third; the same ones for every seed. Duplicates are dropped. Outliers and
    anomalies that are not given are synthetic: made of training images for training, of held-out
    images for calibration and figures.

    Args:
        normal: (N, C, H, W) uint8.
        seed: of the synthetic outliers.
        outliers: (M, C, H, W) uint8; a tenth of them, at least two, is held out.
        anomalies: (A, C, H, W) uint8 test anomalies.
        synthetic: how many outliers to make for training; as many as 128 MB hold, at most.
        name, described: `AnomalySetup.name` and `AnomalySetup.normal`.
        facts: where outliers and anomalies come from: `outlier_source`, `anomaly_source`.

    Raises:
        UserError: there are fewer than four different normal images or outliers.
    """
    normal = distinct(normal)
    if len(normal) < _LEAST:
        raise UserError(
            f"A detector is trained on at least {_LEAST} different normal images, these are "
            f"{len(normal)}; give more."
        )
    order = torch.randperm(len(normal), generator=generator(0, "held-out normal images"))
    count = min(max(_LEAST_HELD_OUT, round(HELD_OUT * len(normal))), len(normal) // 3)
    test, validation, train = normal[order].split([count, count, len(normal) - 2 * count])
    spoilt = max(count, min(synthetic, _MOST_BYTES // normal[0].numel()))
    made = synthetic_outliers(validation, max(count, spoilt // _VALIDATION_SHARE), seed)
    sources = None
    if outliers is None:
        exposed = made_outliers(train, spoilt, seed)
        outliers, sources, validation_outliers = exposed.images, exposed.sources, made
    else:
        outliers, validation_outliers = _split(distinct(outliers))
    if anomalies is None:
        anomalies = synthetic_outliers(test, len(test), seed)
    return AnomalySetup(
        name=name,
        normal=described,
        train_normal=train,
        validation_normal=validation,
        validation_anomalies=made,
        test_normal=test,
        test_anomalies=anomalies,
        outliers=outliers,
        outlier_sources=sources,
        validation_outliers=validation_outliers,
        facts={
            "images": {"train": len(train), "validation": len(validation), "test": len(test)},
            "outlier_source": "synthetic",
            "anomaly_source": "synthetic",
            **(facts or {}),
        },
    )


def distinct(images: Tensor) -> Tensor:
    """Drop exact duplicates, which could otherwise get into two parts."""
    first: dict[bytes, int] = {}
    for number, image in enumerate(images):
        first.setdefault(image.numpy().tobytes(), number)
    return images[torch.tensor(sorted(first.values()), dtype=torch.int64)]


def _split(outliers: Tensor) -> tuple[Tensor, Tensor]:
    """Split outliers into those to train with and a tenth, at least two, held out."""
    held_out = max(2, len(outliers) // 10)
    if len(outliers) < 2 * held_out:
        raise UserError(
            f"A detector takes at least 4 different outliers, these are {len(outliers)}; give "
            "more, or leave them out to have synthetic ones."
        )
    order = torch.randperm(len(outliers), generator=generator(0, "held-out outliers"))
    return outliers[order[held_out:]], outliers[order[:held_out]]
