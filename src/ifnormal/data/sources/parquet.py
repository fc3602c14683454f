"""Image sets in Parquet files with the columns of Hugging Face's image data sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from ifnormal.common.errors import UserError
from ifnormal.data.files.decoding import Array, decode
from ifnormal.data.sources.labelled import LabelledImages, LazyImages, Split, stacked

_IMAGE_COLUMNS = ("image", "img")


@dataclass(frozen=True)
class ParquetImages:
    """A folder of `<split>-*-of-*.parquet` with columns `image` {bytes, path} and `label`.

    Attributes:
        folder: the folder.
        channels: 1 decodes every image as grey, 3 as RGB.
        size: (height, width) to scale every image to; None requires images of one size.
        label: the column with the class.
    """

    folder: Path
    channels: Literal[1, 3] = 3
    size: tuple[int, int] | None = None
    label: str = "label"

    def read(self, split: Split) -> LabelledImages:
        """Decode one split, all its files in order.

        Raises:
            UserError: pyarrow or the split is missing, or a file, an image or a label is damaged.
        """
        return self.scan(split).read()

    def scan(self, split: str) -> LazyImages:
        """Find the images of one split, all its files in order, without decoding them.

        Raises:
            UserError: pyarrow or the split is missing, or a file or a label is damaged.
        """
        _pyarrow_parquet()
        paths = tuple(sorted(Path(self.folder).glob(f"{split}-*-of-*.parquet")))
        if not paths:
            raise UserError(
                f"{self.folder} holds no {split}-*-of-*.parquet; "
                "name a folder with a Hugging Face style Parquet set."
            )
        labels: list[int] = []
        counts: list[int] = []
        names: tuple[str, ...] = ()
        for path in paths:
            table = read_columns(path, self.label)
            found = _class_names(path, table.schema.metadata, self.label)
            if names and found != names:
                raise UserError(f"{path} names other classes than {paths[0]}; write both anew.")
            names = found
            counts.append(table.num_rows)
            for row, label in enumerate(table.column(self.label).to_pylist()):
                if not isinstance(label, int) or not 0 <= label < len(names):
                    raise UserError(
                        f"{path} row {row} has the label {label}, but there are {len(names)} "
                        "classes; correct the label or the class names in the schema."
                    )
                labels.append(label)
        if not labels:
            raise UserError(f"{paths[0]} has no rows; write it with at least one image.")

        def decode(chosen: Sequence[int]) -> Array:
            return self._decode(paths, counts, chosen)

        reading = f"parquet {self.channels} {self.size}"
        return LazyImages(torch.tensor(labels), names, paths, reading, decode)

    def _decode(self, paths: Sequence[Path], counts: list[int], chosen: Sequence[int]) -> Array:
        """(M, C, H, W) images of the rows `chosen`, which are counted over all files."""
        arrays: dict[int, Array] = {}
        shape: tuple[int, ...] | None = None
        start = 0
        for path, count in zip(paths, counts, strict=True):
            rows = sorted({n - start for n in chosen if start <= n < start + count})
            if rows:
                table = read_columns(path, *_IMAGE_COLUMNS)
                column = table.column(0) if len(rows) == count else table.column(0).take(rows)
                for row, item in zip(rows, column.to_pylist(), strict=True):
                    content = item.get("bytes") if isinstance(item, dict) else None
                    name = f"{path} row {row}"
                    array = decode(content or b"", self.channels, name, self.size)
                    shape = shape or array.shape
                    if array.shape != shape:
                        raise UserError(
                            f"{name} is {array.shape[2]}x{array.shape[1]}, the images before "
                            f"it {shape[2]}x{shape[1]}; bring all to one size."
                        )
                    arrays[start + row] = array
            start += count
        return stacked([arrays[n] for n in chosen], (self.channels, *(self.size or (0, 0))))


def read_columns(path: Path, *names: str) -> Any:
    """Read the first of the columns `names` that a file has, as a table.

    Raises:
        UserError: pyarrow is missing, the file is damaged or has no such column.
    """
    pq = _pyarrow_parquet()
    try:
        found = [name for name in names if name in pq.read_schema(path).names]
        if not found:
            raise KeyError(f"no column {' or '.join(names)}")
        return pq.read_table(path, columns=found[:1])
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip("'\"").splitlines()[0]
        raise UserError(
            f"{path} cannot be read as Parquet with the columns image and label ({reason}); "
            "fetch or write it again."
        ) from None


def _pyarrow_parquet() -> Any:
    try:
        import pyarrow.parquet as pq
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f'Parquet files need pyarrow ({error}); run pip install "ifnormal[parquet]".'
        ) from None
    return pq


def _class_names(path: Path, metadata: dict[bytes, bytes] | None, label: str) -> tuple[str, ...]:
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[label]["names"])
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} names no classes; write it with the column {label} as a ClassLabel."
        ) from None
