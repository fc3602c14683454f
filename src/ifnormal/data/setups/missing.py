"""Data that a card needs and this machine lacks, with instructions to get them."""

from __future__ import annotations

from pathlib import Path

from ifnormal.data.setups.card import Card
from ifnormal.data.sources.locations import how_to_get, locate, parquet_folder
from ifnormal.data.sources.source import Source

# Kinds of outliers that need no set of their own.
LETTERS, SYNTHETIC, ALTERED, REST = "letters", "synthetic", "altered", "rest"
GOOD = "good"  # MVTec-AD's word for normal
_ARCHIVES = ("mvtec", "mvtec_anomaly_detection", "mvtec_ad")


def find_category(category: str, data_root: Path | None) -> Path | None:
    """The folder of an MVTec-AD category in any of its three layouts, None if there is none."""
    if data_root is None:
        return None
    for folder in (
        *(data_root / archive / category for archive in _ARCHIVES),
        data_root / category,
    ):
        if (folder / "train" / GOOD).is_dir():
            return folder
    for folder in (data_root / f"mvtec_{category}", data_root / category):
        if parquet_folder(folder) is not None:
            return folder
    return None


def how_to_get_category(category: str, data_root: Path) -> str:
    """Instructions to get a category, as a clause."""
    return (
        "get the archive from https://www.mvtec.com/company/research/datasets/mvtec-ad and unpack "
        f"it into {data_root / 'mvtec'}, so that {data_root / 'mvtec' / category / 'train' / GOOD} "
        "is there"
    )


def is_available(source: Source, data_root: Path | None) -> bool:
    """Whether outliers of a source are available without a network."""
    return (
        source.name in (LETTERS, SYNTHETIC, ALTERED, REST) or locate(source, data_root) is not None
    )


def missing(card: Card, data_root: Path | None) -> list[str]:
    """Names of the sets that a card needs and this machine lacks, with instructions."""
    if card.builder == "mvtec":
        category = card.id.split("/", 1)[1]
        if find_category(category, data_root) is not None:
            return []
        root = data_root or Path("DATA")
        return [f"{card.source.name}: {how_to_get_category(category, root)}"]
    absent: list[str] = []
    if locate(card.source, data_root) is None:
        absent.append(f"{card.source.name}: {how_to_get(card.source, data_root)}")
    of = [source for source, _ in card.exposure.of]
    if not any(is_available(source, data_root) for source in of):
        absent.append(f"{of[0].name}: {how_to_get(of[0], data_root)}")
    return absent
