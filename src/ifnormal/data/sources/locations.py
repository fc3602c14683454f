"""Locations of named sets on this machine, and how to get missing ones. Does not import torch."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from ifnormal.data.sources.source import Source

_PARQUET = ("*.parquet", "*/*.parquet", "*/*/*.parquet")


def locate(source: Source, data_root: Path | None) -> Path | None:
    """Find a set in the data root or in the hub's cache; None if it is in neither.

    Returns:
        A folder that holds Parquet files, or a folder `train/` with one folder for each class.
    """
    if data_root is not None:
        folder = data_root / source.name
        if (folder / "train").is_dir() or parquet_folder(folder) is not None:
            return folder
    return fetched(source, offline=True) if source.hub else None


def how_to_get(source: Source, data_root: Path | None) -> str:
    """Instructions to get a set into the data root, as a clause."""
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
    """The folder with the Parquet files: `folder`, or one up to two levels below, as on the hub."""
    for pattern in _PARQUET:
        found = sorted(path for path in folder.glob(pattern) if path.name.startswith("train-"))
        if found:
            return found[0].parent
    return None


def offline() -> bool:
    """Whether the user has switched off access to the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def fetched(source: Source, offline: bool) -> Path | None:
    """The copy in the hub's cache; it is downloaded first unless `offline`."""
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
    except Exception:  # such as LocalEntryNotFoundError: it was never downloaded
        if offline:
            return None
        raise
    return folder if parquet_folder(folder) is not None else None
