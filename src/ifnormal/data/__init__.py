"""Image sources and anomaly-detection setups."""

from __future__ import annotations

from collections.abc import Callable

from ifnormal.config import DataConfig
from ifnormal.data.colored_mnist import colored_mnist
from ifnormal.data.image_folder_setup import image_folder
from ifnormal.data.setup import AnomalySetup
from ifnormal.errors import UserError

# A new data set is one new file and one line here.
SETUPS: dict[str, Callable[[DataConfig, int], AnomalySetup]] = {
    "colored-mnist": colored_mnist,
    "folder": image_folder,
}


def load_setup(config: DataConfig, seed: int) -> AnomalySetup:
    """Build the setup that the configuration names.

    Args:
        config: which setup, from which images.
        seed: decides everything random about it; the same seed gives the same images.

    Raises:
        UserError: no such setup, or its images are missing or damaged.
    """
    if config.setup not in SETUPS:
        raise UserError(f"There is no setup {config.setup!r}; choose one of {', '.join(SETUPS)}.")
    return SETUPS[config.setup](config, seed)
