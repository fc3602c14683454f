"""A setup of a user's own folders: normal images, and optionally outliers and anomalies."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.config import DataConfig
from ifnormal.data.files.reading import read_images
from ifnormal.data.sampling import generator
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.data.synthetic import synthetic_outliers

_LEAST = 30
_HELD_OUT = 0.15
_LEAST_HELD_OUT = 8
# Synthetic outliers stay in memory, so their size is limited. A twelfth more is held out.
_MOST_BYTES = 2**27
_VALIDATION_SHARE = 12


def image_folder(config: DataConfig, seed: int) -> AnomalySetup:
    """Build the setup from `config.normal`, `config.outlier_images` and `config.anomalies`.

    15 % of the normal images are held out for the threshold and 15 % for the figures, the same
    ones for every seed. Duplicates are dropped. Without a folder of outliers, synthetic ones are
    made: of training images for training, of held-out images for calibration. Without a folder of
    anomalies, the test anomalies are synthetic too, so that figures only tell how well synthetic
    anomalies are recognised.

    Raises:
        UserError: no folder of normal images is named, it has too few, or an image is damaged.
    """
    if config.normal is None:
        raise UserError(
            "The setup 'folder' needs a folder of normal images; name it with --data.normal."
        )
    shape = (config.channels, config.size, config.size)
    normal = _distinct(_read(config.normal, shape))
    if len(normal) < _LEAST:
        raise UserError(
            f"{config.normal} holds {len(normal)} different images, the setup 'folder' takes at "
            f"least {_LEAST}; add more normal images."
        )
    order = torch.randperm(len(normal), generator=generator(0, "held-out normal images"))
    count = max(_LEAST_HELD_OUT, round(_HELD_OUT * len(normal)))
    test, validation, train = normal[order].split([count, count, len(normal) - 2 * count])
    facts: dict[str, object] = {
        "images": {"train": len(train), "validation": len(validation), "test": len(test)}
    }
    spoilt = max(count, min(config.outliers, _MOST_BYTES // normal[0].numel()))
    held_out = max(count, spoilt // _VALIDATION_SHARE)
    made = synthetic_outliers(validation, held_out, seed)
    if config.outlier_images is None:
        outliers, validation_outliers = synthetic_outliers(train, spoilt, seed), made
        facts["outlier_source"] = "synthetic"
    else:
        given = _distinct(_read(config.outlier_images, shape))
        outliers, validation_outliers = _split(given, config.outlier_images)
        facts["outlier_source"] = str(config.outlier_images)
    if config.anomalies is None:
        anomalies = synthetic_outliers(test, len(test), seed)
        facts["anomaly_source"] = "synthetic"
    else:
        anomalies = _read(config.anomalies, shape)
        facts["anomaly_source"] = str(config.anomalies)
    return AnomalySetup(
        name="folder",
        normal=f"images like those in {config.normal}",
        train_normal=train,
        validation_normal=validation,
        validation_anomalies=made,
        test_normal=test,
        test_anomalies=anomalies,
        outliers=outliers,
        validation_outliers=validation_outliers,
        facts=facts,
    )


def _read(folder: Path, shape: tuple[int, int, int]) -> Tensor:
    return read_images([folder], shape)[0]


def _distinct(images: Tensor) -> Tensor:
    """Drop exact duplicates, which could otherwise get into two parts."""
    first: dict[bytes, int] = {}
    for number, image in enumerate(images):
        first.setdefault(image.numpy().tobytes(), number)
    return images[torch.tensor(sorted(first.values()))]


def _split(outliers: Tensor, folder: Path) -> tuple[Tensor, Tensor]:
    """Split outliers into those to train with and a tenth, at least two, held out."""
    held_out = max(2, len(outliers) // 10)
    if len(outliers) < 2 * held_out:
        raise UserError(
            f"{folder} holds {len(outliers)} different outliers; add some, or leave "
            "--data.outlier-images out to have synthetic ones."
        )
    order = torch.randperm(len(outliers), generator=generator(0, "held-out outliers"))
    return outliers[order[held_out:]], outliers[order[:held_out]]
