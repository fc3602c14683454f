"""The cards of all YAML files: ours, and those in folders of the user."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from ifnormal.common.errors import UserError
from ifnormal.data.setups.card import Card
from ifnormal.data.setups.card_reading import read_cards

FOLDER = Path(__file__).parents[2] / "benchmarks" / "setups"
VARIABLE = "IFNORMAL_CARDS"


def all_cards(extra: Path | None = None) -> dict[str, Card]:
    """Read all cards.

    Args:
        extra: a folder of further cards, beside the one that IFNORMAL_CARDS names.

    Returns:
        id -> card, in the order of the files.

    Raises:
        UserError: a file is not valid, or two cards have the same id.
    """
    files = _card_files(extra)
    return dict(_read(tuple((p, p.stat().st_mtime_ns, p.stat().st_size) for p in files)))


def card(id: str, extra: Path | None = None) -> Card:
    """The card of a setup.

    Raises:
        UserError: there is none, or a file is not valid.
    """
    cards = all_cards(extra)
    if id in cards:
        return cards[id]
    family = id.split("/")[0]
    alike = [known for known in cards if known.split("/")[0] == family]
    known = ", ".join(alike[:6] or sorted({each.family + "/…" for each in cards.values()}))
    raise UserError(
        f"There is no setup {id!r}; choose one such as {known}, or write a card for it and name "
        f"its folder with {VARIABLE}."
    )


@lru_cache(maxsize=4)
def _read(facts: tuple[tuple[Path, int, int], ...]) -> dict[str, Card]:
    """Read files, given with time and size so that changed ones are read again."""
    cards: dict[str, Card] = {}
    for card in read_cards([path for path, *_ in facts]):
        if card.id in cards:
            raise UserError(
                f"{card.file} describes {card.id}, and so does {cards[card.id].file}; "
                "give one of them another id."
            )
        cards[card.id] = card
    return cards


def _card_files(extra: Path | None) -> list[Path]:
    named = os.environ.get(VARIABLE)
    files: dict[Path, Path] = {}  # by their real path, as two names may lead to one folder
    for folder in (FOLDER, Path(named) if named else None, extra):
        if folder is None:
            continue
        found = sorted(path for path in folder.glob("*.yaml") if path.is_file())
        if not found:
            raise UserError(
                f"{folder} holds no cards (*.yaml); write one there or name another folder."
            )
        real = folder.resolve()
        for path in found:
            files.setdefault(path.resolve() if path.is_symlink() else real / path.name, path)
    return list(files.values())
