"""Image sets in Parquet files, laid out as Hugging Face lays them out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ifnormal.data.images import LabelledImages, Split
from ifnormal.data.reading import decode
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
        arrays: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        labels: list[int] = []
        names: tuple[str, ...] = ()
        for path in paths:
            try:
                table = pq.read_table(path, columns=["image", "label"])
            except (OSError, ValueError, KeyError) as error:
                reason = str(error).splitlines()[0]
                raise UserError(
                    f"{path} cannot be read as Parquet with the columns image and label "
                    f"({reason}); fetch or write it again."
                ) from None
            names = _class_names(path, table.schema.metadata)
            for row, item in enumerate(table.column("image").to_pylist()):
                array = decode((item or {}).get("bytes") or b"", self.channels, f"{path} row {row}")
                if arrays and array.shape != arrays[0].shape:
                    raise UserError(
                        f"{path} row {row} is {array.shape[2]}x{array.shape[1]}, the images before "
                        f"it {arrays[0].shape[2]}x{arrays[0].shape[1]}; bring all to one size."
                    )
                arrays.append(array)
            labels += table.column("label").to_pylist()
        if any(label is None or not 0 <= label < len(names) for label in labels):
            raise UserError(
                f"{self.folder} has {split} labels outside 0..{len(names) - 1}; "
                "correct the column label or the class names in the schema."
            )
        images = torch.from_numpy(np.stack(arrays))
        return LabelledImages(images, torch.tensor(labels, dtype=torch.int64), names)


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
