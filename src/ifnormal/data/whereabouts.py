"""Where sets of images are, and how to get them where they are not. Decodes nothing, no torch."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from ifnormal.data.cards import Card, Source

# Outliers that need no set of their own.
LETTERS, SYNTHETIC, ALTERED, REST = "letters", "synthetic", "altered", "rest"
GOOD = "good"  # what MVTec-AD calls normal
_ARCHIVES = ("mvtec", "mvtec_anomaly_detection", "mvtec_ad")
_PARQUET = ("*.parquet", "*/*.parquet", "*/*/*.parquet")


def locate(source: Source, data_root: Path | None) -> Path | None:
    """Where the set is on this machine, in the data root or the hub's cache; None if nowhere.

    Returns:
        A folder that holds Parquet files, or a folder `train/` with one folder for each class.
    """
    if data_root is not None:
        folder = data_root / source.name
        if (folder / "train").is_dir() or parquet_folder(folder) is not None:
            return folder
    return fetched(source, offline=True) if source.hub else None


def how_to_get(source: Source, data_root: Path | None) -> str:
    """What a person does to have the set in the data root, as a clause."""
    target = (data_root or Path("DATA")) / source.name
    if source.hub:
        include = "" if source.include == "*.parquet" else f" --include '{source.include}'"
        return (
            f"hf download {source.hub} --repo-type dataset{include} --local-dir {target} "
            "(of the package huggingface-hub) gets it"
        )
    where = f" ({source.note})" if source.note else ""
    return f"put it into {target} as Parquet files or as train/CLASS/*.png{where}"


def parquet_folder(folder: Path) -> Path | None:
    """The folder with the Parquet files, which the hub may keep a level or two further down."""
    for pattern in _PARQUET:
        found = sorted(path for path in folder.glob(pattern) if path.name.startswith("train-"))
        if found:
            return found[0].parent
    return None


def find_category(category: str, data_root: Path | None) -> Path | None:
    """The folder of a category, in any of the three layouts; None if it is not there."""
    if data_root is None:
        return None
    for folder in (
        *(data_root / archive / category for archive in _ARCHIVES),
        data_root / category,
    ):
        if (folder / "train" / GOOD).is_dir():
            return folder
    folder = data_root / f"mvtec_{category}"
    return folder if parquet_folder(folder) is not None else None


def how_to_get_category(category: str, data_root: Path) -> str:
    """What a person does to have a category, as a clause."""
    return (
        "get the archive from https://www.mvtec.com/company/research/datasets/mvtec-ad and unpack "
        f"it into {data_root / 'mvtec'}, so that {data_root / 'mvtec' / category / 'train' / GOOD} "
        "is there"
    )


def is_there(source: Source, data_root: Path | None) -> bool:
    """Whether outliers can be had of it without a network; of four kinds always."""
    return (
        source.name in (LETTERS, SYNTHETIC, ALTERED, REST) or locate(source, data_root) is not None
    )


def missing(card: Card, data_root: Path | None) -> list[str]:
    """What a card needs and is not on this machine: names, each with how to get it."""
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
    if not any(is_there(source, data_root) for source in of):
        absent.append(f"{of[0].name}: {how_to_get(of[0], data_root)}")
    return absent


def offline() -> bool:
    """Whether the user wants nothing fetched from the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def fetched(source: Source, offline: bool) -> Path | None:
    """The hub's copy on this machine; fetched first unless `offline`."""
    if source.hub is None or (offline and find_spec("huggingface_hub") is None):
        return None
    try:
        import huggingface_hub as hub
    except (ImportError, RuntimeError):
        if offline:
            return None
        raise
    try:
        folder = Path(
            hub.snapshot_download(
                source.hub,
                repo_type="dataset",
                allow_patterns=[source.include],
                local_files_only=offline,
            )
        )
    except Exception:  # LocalEntryNotFoundError and its kin: it was never fetched
        if offline:
            return None
        raise
    return folder if parquet_folder(folder) is not None else None
