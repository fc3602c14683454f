"""Image sets in Parquet files, laid out as Hugging Face lays them out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ifnormal.data.images import LabelledImages, Split
from ifnormal.data.reading import Array, decode
from ifnormal.errors import UserError


@dataclass(frozen=True)
class ParquetImages:
    """A folder of `<split>-*-of-*.parquet` with columns `image` {bytes, path} and `label`.

    Attributes:
        folder: the folder.
        channels: 1 reads every image as grey, 3 as RGB.
    """

    folder: Path
    channels: Literal[1, 3] = 3

    def read(self, split: Split) -> LabelledImages:
        """Read one split, all its files, in order.

        Raises:
            UserError: pyarrow or the split is missing, or a file, an image or a label is damaged.
        """
        pq = _pyarrow_parquet()
        paths = sorted(Path(self.folder).glob(f"{split}-*-of-*.parquet"))
        if not paths:
            raise UserError(
                f"{self.folder} holds no {split}-*-of-*.parquet; "
                "name a folder with a Hugging Face style Parquet set."
            )
        arrays: list[Array] = []
        labels: list[int] = []
        names: tuple[str, ...] = ()
        for path in paths:
            table = _table(pq, path)
            found = _class_names(path, table.schema.metadata)
            if names and found != names:
                raise UserError(f"{path} names other classes than {paths[0]}; write both anew.")
            names = found
            for row, item in enumerate(table.column("image").to_pylist()):
                content = item.get("bytes") if isinstance(item, dict) else None
                array = decode(content or b"", self.channels, f"{path} row {row}")
                if arrays and array.shape != arrays[0].shape:
                    raise UserError(
                        f"{path} row {row} is {array.shape[2]}x{array.shape[1]}, the images before "
                        f"it {arrays[0].shape[2]}x{arrays[0].shape[1]}; bring all to one size."
                    )
                arrays.append(array)
            for row, label in enumerate(table.column("label").to_pylist()):
                if not isinstance(label, int) or not 0 <= label < len(names):
                    raise UserError(
                        f"{path} row {row} has the label {label}, but there are {len(names)} "
                        "classes; correct the label or the class names in the schema."
                    )
                labels.append(label)
        if not arrays:
            raise UserError(f"{paths[0]} has no rows; write it with at least one image.")
        return LabelledImages(torch.from_numpy(np.stack(arrays)), torch.tensor(labels), names)


def _table(pq: Any, path: Path) -> Any:
    try:
        return pq.read_table(path, columns=["image", "label"])
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
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


def _class_names(path: Path, metadata: dict[bytes, bytes] | None) -> tuple[str, ...]:
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features["label"]["names"])
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{path} names no classes; write it with the column label as a ClassLabel."
        ) from None
