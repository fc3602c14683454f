"""Image sources and anomaly-detection setups."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from ifnormal.common.errors import UserError
from ifnormal.config import DataConfig

if TYPE_CHECKING:
    from ifnormal.data.setups.card import Card
    from ifnormal.data.setups.setup import AnomalySetup


def _later(module: str, name: str) -> Callable[..., AnomalySetup]:
    """Import a function only when it is called, so that listing the cards loads no torch."""

    def call(*given: object) -> AnomalySetup:
        made: AnomalySetup = getattr(import_module(f"ifnormal.data.setups.{module}"), name)(*given)
        return made

    return call


# Setups by name. A new one is a file and a line here.
SETUPS: dict[str, Callable[[DataConfig, int], AnomalySetup]] = {
    "colored-mnist": _later("colored_mnist", "colored_mnist"),
    "folder": _later("image_folder", "image_folder"),
}

# Functions that build a setup from a card, by the `builder` of the card.
BUILDERS: dict[str, Callable[[Card, DataConfig, int], AnomalySetup]] = {
    "classes": _later("labelled_classes", "labelled_classes"),
    "colored": _later("colored_mnist", "colored_card"),
    "mvtec": _later("mvtec", "mvtec"),
}


def load_setup(config: DataConfig, seed: int) -> AnomalySetup:
    """Build the setup that the configuration names.

    Args:
        config: names the setup and its images. A name with a slash is the id of a card.
        seed: of all random choices; the same seed gives the same images.

    Raises:
        UserError: no such setup, or its images are missing or damaged.
    """
    if "/" in config.setup:
        from ifnormal.data.setups.card_files import card

        found = card(config.setup, config.cards)
        return BUILDERS[found.builder](found, config, seed)
    if config.setup not in SETUPS:
        raise UserError(
            f"There is no setup {config.setup!r}; choose one of {', '.join(SETUPS)}, or the id of "
            "a card such as mnist/one-vs-rest/7."
        )
    return SETUPS[config.setup](config, seed)
