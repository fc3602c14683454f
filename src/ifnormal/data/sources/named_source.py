"""Named sets of images: Parquet files or class folders, in the data root or from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from ifnormal.common.errors import UserError, one_line
from ifnormal.data.files.decoding import Array, decode
from ifnormal.data.files.finding import find_images
from ifnormal.data.sources.decoded_cache import cached
from ifnormal.data.sources.labelled import LazyImages, Split, stacked
from ifnormal.data.sources.locations import fetched, how_to_get, locate, offline, parquet_folder
from ifnormal.data.sources.parquet import ParquetImages
from ifnormal.data.sources.source import Source

_TEST_FOLDERS = ("test", "val", "validation", "valid")


def open_source(
    source: Source,
    data_root: Path | None,
    channels: Literal[1, 3],
    size: tuple[int, int] | None,
) -> NamedImages:
    """Open a set from the data root, the hub's cache or the hub.

    Raises:
        UserError: the set is in none of these; the message says how to get it.
    """
    folder = locate(source, data_root)
    reason = ""
    if folder is None and data_root is not None and (data_root / source.name).is_dir():
        raise UserError(
            f"{data_root / source.name} holds neither {source.name}'s Parquet files "
            f"(train-*-of-*.parquet) nor a folder train; {how_to_get(source, data_root)}."
        )
    if folder is None and source.hub and not offline():
        try:
            folder = fetched(source, offline=False)
        except Exception as error:  # any, if there is no network
            reason = f" and the hub did not give it ({one_line(error)})"
    if folder is None:
        root = data_root or "There is no data root (IFNORMAL_DATA, --data.data-root), and it"
        raise UserError(
            f"{root} has no folder {source.name}{reason}; {how_to_get(source, data_root)}."
        )
    return NamedImages(source, folder, channels, size)


class NamedImages:
    """A set that is on this machine.

    Attributes:
        source: the set.
        folder: its folder.
        channels: 1 decodes every image as grey, 3 as RGB.
        size: (height, width) to scale every image to; None requires images of one size.
    """

    def __init__(
        self, source: Source, folder: Path, channels: Literal[1, 3], size: tuple[int, int] | None
    ) -> None:
        self.source, self.folder, self.channels, self.size = source, folder, channels, size

    def scan(self, split: Split, wanted: frozenset[str] | None = None) -> LazyImages:
        """Find the images of a split without decoding them.

        Args:
            split: "train" or "test".
            wanted: of class folders, the classes whose images are needed; None is all.

        Raises:
            UserError: there is no such split, or it is damaged.
        """
        parquet = parquet_folder(self.folder)
        if parquet is None:
            return cached(self._folders(split, wanted))
        name = self.source.test if split == "test" else "train"
        if not any(parquet.glob(f"{name}-*")):
            name = split
        return cached(
            ParquetImages(parquet, self.channels, self.size, self._label(parquet)).scan(name)
        )

    def _label(self, folder: Path) -> str:
        """The column with the class; rewritten sets may call it `label` again."""
        if self.source.label == "label":
            return "label"
        import pyarrow.parquet as pq

        names = pq.read_schema(min(folder.glob("*.parquet"))).names
        return self.source.label if self.source.label in names else "label"

    def _folders(self, split: Split, wanted: frozenset[str] | None) -> LazyImages:
        choices = _TEST_FOLDERS if split == "test" else ("train",)
        part = next((self.folder / n for n in choices if (self.folder / n).is_dir()), None)
        if part is None:
            raise UserError(f"{self.folder} has no folder {split}; add it, with a folder a class.")
        names = sorted(p.name for p in part.iterdir() if p.is_dir() and p.name[0] != ".")
        if not names:
            raise UserError(f"{part} has no folders; put the images into one for each class.")
        files: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(names):
            if wanted is None or name in wanted:
                found = find_images([part / name])
                files += found
                labels += [label] * len(found)

        def decode_files(chosen: Any) -> Array:
            arrays = [decode(files[n], self.channels, str(files[n]), self.size) for n in chosen]
            for n, array in zip(chosen, arrays, strict=True):
                if array.shape != arrays[0].shape:
                    raise UserError(
                        f"{files[n]} is not as large as {files[chosen[0]]}; bring all to one size."
                    )
            return stacked(arrays, (self.channels, *(self.size or (0, 0))))

        reading = f"folder {self.channels} {self.size}"
        known = torch.tensor(labels, dtype=torch.int64)
        return LazyImages(known, tuple(names), tuple(files), reading, decode_files)
