"""The list of all setups, and which data they lack. Decodes no image and loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ifnormal.data.setups.card_files import all_cards
from ifnormal.data.setups.missing import missing
from ifnormal.data.sources.source import Source


def listing(data_root: Path | None, extra: Path | None = None) -> list[dict[str, Any]]:
    """List every setup.

    Args:
        data_root: folder of data sets; the cache of the hub is searched as well.
        extra: a folder of more cards.

    Returns:
        For each setup `id`, `family`, `available`, and `missing`: the data sets that it lacks, each
        as "name: how to get it".

    Raises:
        UserError: a card is damaged.
    """
    known: dict[tuple[Source, ...], list[str]] = {}
    rows: list[dict[str, Any]] = []
    for card in all_cards(extra).values():
        sources = (card.source, *(source for source, _ in card.exposure.of))
        if sources not in known:
            known[sources] = missing(card, data_root)
        absent = list(known[sources])
        rows.append(
            {
                "id": card.id,
                "family": card.family,
                "available": not absent,
                "missing": absent,
            }
        )
    return rows
