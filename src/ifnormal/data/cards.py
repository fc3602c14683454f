"""Cards: setups as data. A YAML file describes a family, and each of its setups has a card.

Every setup of the paper's evaluation is in `benchmarks/setups/`; a user adds more by writing a file
like these into a folder of their own. Loads no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ifnormal.common.errors import UserError

FOLDER = Path(__file__).parents[1] / "benchmarks" / "setups"
VARIABLE = "IFNORMAL_CARDS"
SOURCES = "sources.yaml"

Builder = Literal["classes", "colored", "mvtec"]
Group = Literal["single", "several", "industrial"]


@dataclass(frozen=True)
class Source:
    """A set of images by its name, and where to get it.

    Attributes:
        name: its folder in the data root.
        title: what people call it.
        hub: id of the data set on the Hugging Face hub, None where it is not to be fetched.
        include: which files of it, as a pattern.
        label: the column with the class, of Parquet files.
        test: what the set calls its test split.
        note: where a person gets it.
    """

    name: str
    title: str = ""
    hub: str | None = None
    include: str = "*.parquet"
    label: str = "label"
    test: str = "test"
    note: str = ""


@dataclass(frozen=True)
class Exposure:
    """Outliers to train with.

    Attributes:
        use: "first" takes the first of the sources that is there, "all" mixes those that are.
        of: sources and their shares of a mix. Some need no set of their own: "letters" (EMNIST,
            else Omniglot, else rendered ones), "synthetic" (normal training images, spoilt in one
            place), "altered" (with other colours or other content), and "rest" (training images
            of classes that are neither normal nor an anomaly).
        avoid: normal class -> classes of the sources that look like it and are left out.
    """

    use: Literal["first", "all"]
    of: tuple[tuple[Source, float], ...]
    avoid: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """One setup: which images, which of them are normal, and how long to train.

    Attributes:
        id: such as "mnist/one-vs-rest/7".
        family: what is before the first slash.
        title: of the setup, in a line.
        normal: what is normal, in words.
        builder: what makes a setup of it: "classes" of labelled images, "colored" digits, or
            "mvtec", a category in the layout of MVTec-AD.
        source: the images.
        exposure: the outliers.
        group: where the paper has it: "single" or "several" normal classes, or "industrial".
        size: height and width that images are read with.
        pad: black pixels around each after that.
        channels: 1 for grey, 3 for RGB.
        pictures: "drawings" or "photographs".
        attribute: what the classes are, in a word, such as "digit".
        normal_classes: names of classes, or their numbers.
        anomaly_classes: likewise; () is every other class.
        classes: key of a class -> its name. Only these are used, where there are any.
        options: what the builder has to know beyond that.
        budgets: "small" and "paper" -> options by dotted names, such as {"fit.steps": 800}.
        file: where it is described.
    """

    id: str
    family: str
    title: str
    normal: str
    builder: Builder
    source: Source
    exposure: Exposure
    group: Group
    size: int
    channels: Literal[1, 3]
    file: Path
    pad: int = 0
    pictures: Literal["drawings", "photographs"] = "photographs"
    attribute: str = "class"
    normal_classes: tuple[str | int, ...] = ()
    anomaly_classes: tuple[str | int, ...] = ()
    classes: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    budgets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def all_cards(extra: Path | None = None) -> dict[str, Card]:
    """Read every card there is.

    Args:
        extra: a folder of more cards; so is the one that IFNORMAL_CARDS names.

    Returns:
        id -> card: file by file, in the order of the file.

    Raises:
        UserError: a file is no card, or two cards have one id.
    """
    files = card_files(extra)
    facts = tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in files)
    return dict(_read(facts))


@lru_cache(maxsize=4)
def _read(facts: tuple[tuple[Path, int, int], ...]) -> dict[str, Card]:
    """Read files; whoever changes one gives it another time or size."""
    from ifnormal.data.card_reading import read_cards

    cards: dict[str, Card] = {}
    for card in read_cards([path for path, *_ in facts]):
        if card.id in cards:
            raise UserError(
                f"{card.file} describes {card.id}, and so does {cards[card.id].file}; "
                "give one of them another id."
            )
        cards[card.id] = card
    return cards


def card(id: str, extra: Path | None = None) -> Card:
    """The card of a setup.

    Raises:
        UserError: there is none, or a file is no card.
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


def card_files(extra: Path | None = None) -> list[Path]:
    """All files of cards: ours, those of IFNORMAL_CARDS, those of `extra`."""
    named = os.environ.get(VARIABLE)
    files: list[Path] = []
    for folder in (FOLDER, Path(named) if named else None, extra):
        if folder is None:
            continue
        found = sorted(path for path in folder.glob("*.yaml") if path.is_file())
        if not found:
            raise UserError(
                f"{folder} holds no cards (*.yaml); write one there or name another folder."
            )
        files += [path for path in found if path.resolve() not in {f.resolve() for f in files}]
    return files
