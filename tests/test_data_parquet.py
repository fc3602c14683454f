import json
import os
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ifnormal.common.errors import UserError
from ifnormal.data.sources.parquet import ParquetImages


def png(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def write(
    path: Path, images: list[Any], labels: list[Any], names: tuple[str, ...] | None = ("a", "b")
) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    rows = [None if image is None else {"bytes": image, "path": "x.png"} for image in images]
    table = pa.table({"image": rows, "label": labels})
    if names is not None:
        features = {"label": {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def grey(value: int, side: int = 4) -> np.ndarray:
    return np.full((side, side), value, np.uint8)


def test_all_files_of_a_split_are_read_in_order(tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00002.parquet", [png(grey(10)), png(grey(20))], [0, 1])
    write(tmp_path / "train-00001-of-00002.parquet", [png(grey(30))], [1])
    write(tmp_path / "test-00000-of-00001.parquet", [png(grey(40))], [0])
    train = ParquetImages(tmp_path, channels=1).read("train")
    assert train.images.shape == (3, 1, 4, 4)
    assert train.images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert train.labels.tolist() == [0, 1, 1]
    assert train.class_names == ("a", "b")
    assert len(ParquetImages(tmp_path).read("test")) == 1


def test_grey_and_colour_images_are_brought_to_one_mode(tmp_path: Path) -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    write(tmp_path / "train-00000-of-00001.parquet", [png(red), png(grey(7))], [0, 1])
    rgb = ParquetImages(tmp_path, channels=3).read("train").images
    assert rgb[:, :, 0, 0].tolist() == [[255, 0, 0], [7, 7, 7]]
    assert ParquetImages(tmp_path, channels=1).read("train").images.shape == (2, 1, 4, 4)


@pytest.mark.parametrize(
    ("images", "labels", "names", "message"),
    [
        ([png(grey(1)), b"no image"], [0, 1], ("a", "b"), "row 1 cannot be read as an image"),
        ([png(grey(1)), png(grey(1))[:40]], [0, 1], ("a", "b"), "row 1 cannot be read"),
        ([png(grey(1)), None], [0, 1], ("a", "b"), "row 1 cannot be read"),
        ([png(grey(1)), png(grey(1, 5))], [0, 1], ("a", "b"), "row 1 is 5x5, the images before"),
        ([png(grey(1))], [2], ("a", "b"), "row 0 has the label 2"),
        ([png(grey(1))], ["dog"], ("a", "b"), "row 0 has the label dog"),
        ([png(grey(1))], [0], None, "names no classes"),
        ([], [], ("a", "b"), "has no rows"),
    ],
)
def test_damage_is_named_with_file_and_row(
    tmp_path: Path, images: list[Any], labels: list[Any], names: Any, message: str
) -> None:
    write(tmp_path / "train-00000-of-00001.parquet", images, labels, names)
    with pytest.raises(UserError, match=message) as caught:
        ParquetImages(tmp_path, channels=1).read("train")
    assert "train-00000-of-00001.parquet" in str(caught.value)


def test_files_that_disagree_about_the_classes_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train-00000-of-00002.parquet", [png(grey(1))], [0], ("a", "b"))
    write(tmp_path / "train-00001-of-00002.parquet", [png(grey(1))], [0], ("b", "a"))
    with pytest.raises(UserError, match="names other classes than"):
        ParquetImages(tmp_path).read("train")


def test_a_missing_split_and_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no test-\*-of"):
        ParquetImages(tmp_path).read("test")
    (tmp_path / "test-00000-of-00001.parquet").write_bytes(b"something else")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        ParquetImages(tmp_path).read("test")


def test_without_pyarrow_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"pip install \"ifnormal\[parquet\]\""):
        ParquetImages(tmp_path).read("train")


def test_the_shared_sets_decode() -> None:
    root = os.environ.get("IFNORMAL_DATA")
    if not root:
        pytest.skip("IFNORMAL_DATA names no data root")
    images = ParquetImages(Path(root) / "mnist", channels=1).read("test")
    assert images.images.shape == (10_000, 1, 28, 28)
    assert images.class_names == tuple("0123456789")
