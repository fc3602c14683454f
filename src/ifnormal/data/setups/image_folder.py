"""A setup of a user's own folders: normal images, and optionally outliers and anomalies."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.config import DataConfig
from ifnormal.data.files.reading import read_images
from ifnormal.data.setups.given_images import distinct, setup_of_images
from ifnormal.data.setups.setup import AnomalySetup

_LEAST, _LEAST_OUTLIERS = 30, 4


def image_folder(config: DataConfig, seed: int) -> AnomalySetup:
    """Build the setup from `config.normal`, `config.outlier_images` and `config.anomalies`.

    Without a folder of anomalies, the test anomalies are synthetic, so that figures only tell how
    well synthetic anomalies are recognised; see `setup_of_images`.

    Raises:
        UserError: no folder of normal images is named, it has too few, or an image is damaged.
    """
    if config.normal is None:
        raise UserError(
            "The setup 'folder' needs a folder of normal images; name it with --data.normal."
        )
    shape = (config.channels, config.size, config.size)
    normal = distinct(_read(config.normal, shape))
    if len(normal) < _LEAST:
        raise UserError(
            f"{config.normal} holds {len(normal)} different images, the setup 'folder' takes at "
            f"least {_LEAST}; add more normal images."
        )
    facts: dict[str, object] = {}
    outliers, anomalies = None, None
    if config.outlier_images is not None:
        outliers = distinct(_read(config.outlier_images, shape))
        if len(outliers) < _LEAST_OUTLIERS:
            raise UserError(
                f"{config.outlier_images} holds {len(outliers)} different outliers; add some, or "
                "leave --data.outlier-images out to have synthetic ones."
            )
        facts["outlier_source"] = str(config.outlier_images)
    if config.anomalies is not None:
        anomalies = _read(config.anomalies, shape)
        facts["anomaly_source"] = str(config.anomalies)
    return setup_of_images(
        normal,
        seed,
        outliers=outliers,
        anomalies=anomalies,
        synthetic=config.outliers,
        name="folder",
        described=f"images like those in {config.normal}",
        facts=facts,
    )


def _read(folder: Path, shape: tuple[int, int, int]) -> Tensor:
    return read_images([folder], shape)[0]
