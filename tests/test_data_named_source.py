import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ifnormal.common.errors import UserError
from ifnormal.data.sources import decoded_cache
from ifnormal.data.sources.decoded_cache import VARIABLE, cached
from ifnormal.data.sources.labelled import LazyImages
from ifnormal.data.sources.locations import how_to_get, locate
from ifnormal.data.sources.named_source import open_source
from ifnormal.data.sources.parquet import ParquetImages
from ifnormal.data.sources.source import Source
from test_data_parquet import grey, png, write

SIZE = (4, 4)
SET = Source("set", "A set", hub="owner/set")


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))


def one_file(path: Path, value: int) -> None:
    write(path, [png(grey(value))], [1])


@pytest.mark.parametrize("below", ["", "plain_text", "default/data"])
def test_parquet_files_where_the_hub_puts_them(tmp_path: Path, below: str) -> None:
    one_file(tmp_path / "set" / below / "train-00000-of-00001.parquet", 9)
    one_file(tmp_path / "set" / below / "valid-00000-of-00001.parquet", 8)
    assert locate(SET, tmp_path) == tmp_path / "set"
    named = open_source(Source("set", test="valid"), tmp_path, 1, SIZE)
    assert named.scan("train").read().images.unique().tolist() == [9]
    test = named.scan("test").read()
    assert test.images.unique().tolist() == [8]
    assert (test.labels.tolist(), test.class_names) == ([1], ("a", "b"))


def test_a_set_written_anew_has_the_usual_split_and_label_again(tmp_path: Path) -> None:
    for split in ("train", "test"):
        one_file(tmp_path / "set" / f"{split}-00000-of-00001.parquet", 7)
    source = Source("set", label="fine_label", test="valid")
    named = open_source(source, tmp_path, 1, SIZE)
    assert named.scan("test").read().labels.tolist() == [1]


def test_columns_as_on_the_hub(tmp_path: Path) -> None:
    import json

    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"bytes": png(grey(v)), "path": "x"} for v in (1, 2)]
    table = pa.table({"img": rows, "coarse_label": [5, 5], "fine_label": [1, 0]})
    names = {"fine_label": {"names": ["x", "y"]}, "coarse_label": {"names": ["z"]}}
    facts = {"huggingface": json.dumps({"info": {"features": names}})}
    path = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(table.replace_schema_metadata(facts), path)
    read = ParquetImages(tmp_path, 1, label="fine_label").read("train")
    assert read.class_names == ("x", "y")
    assert read.labels.tolist() == [1, 0]
    assert read.images[:, 0, 0, 0].tolist() == [1, 2]


def test_only_chosen_rows_are_decoded_in_the_order_asked_for(tmp_path: Path) -> None:
    import torch

    write(tmp_path / "train-00000-of-00002.parquet", [png(grey(1)), b"damaged"], [0, 1])
    write(tmp_path / "train-00001-of-00002.parquet", [png(grey(3)), png(grey(4))], [1, 0])
    lazy = ParquetImages(tmp_path, 1, SIZE).scan("train")
    part = lazy.read(torch.tensor([3, 0, 2, 3]))
    assert part.images[:, 0, 0, 0].tolist() == [4, 1, 3, 4]
    assert part.labels.tolist() == [0, 0, 1, 0]
    assert lazy.read(torch.tensor([], dtype=torch.int64)).images.shape == (0, 1, 4, 4)
    renamed = lazy.only([1], ["second"])
    assert renamed.class_names == ("second",)
    assert renamed.labels.tolist() == [0, 0]
    assert renamed.read(torch.tensor([1])).images.unique().tolist() == [3]
    with pytest.raises(UserError, match="row 1"):
        lazy.read()


def test_folders_and_only_the_wanted_classes(tmp_path: Path) -> None:
    for name in ("n01", "n02"):
        folder = tmp_path / "set" / "train" / name
        folder.mkdir(parents=True)
        Image.fromarray(grey(int(name[1:]), 9)).save(folder / "x.JPEG", quality=100)
    (tmp_path / "set" / "train" / "n02" / "y.png").write_bytes(b"damaged")
    named = open_source(Source("set"), tmp_path, 3, SIZE)
    lazy = named.scan("train", frozenset({"n01"}))
    assert lazy.class_names == ("n01", "n02")
    assert lazy.read().images.shape == (1, 3, 4, 4)
    with pytest.raises(UserError, match=r"y\.png"):
        named.scan("train").read()
    with pytest.raises(UserError, match="has no folder test"):
        named.scan("test")


class Hub:
    """What we use of the hub's package; it has one data set."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.has = folder, [], False

    def snapshot_download(
        self, id: str, repo_type: str, allow_patterns: list[str], local_files_only: bool
    ) -> str:
        self.asked.append((id, repo_type, tuple(allow_patterns), local_files_only))
        if id != "owner/set":
            raise RuntimeError("404: no such set\nat all")
        if local_files_only and not self.has:
            raise FileNotFoundError("not in the cache")
        if not self.has:
            one_file(self.folder / "data" / "train-00000-of-00001.parquet", 5)
            self.has = True
        return str(self.folder)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    fake = Hub(tmp_path / "hub")
    module = types.ModuleType("huggingface_hub")
    module.snapshot_download = fake.snapshot_download  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace(name="huggingface_hub")  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    return fake


def test_what_is_not_there_is_fetched_once(tmp_path: Path, hub: Hub) -> None:
    assert locate(SET, tmp_path) is None
    named = open_source(SET, tmp_path, 1, SIZE)
    assert named.scan("train").read().images.unique().tolist() == [5]
    assert [asked[-1] for asked in hub.asked] == [True, True, False]
    assert hub.asked[-1][:3] == ("owner/set", "dataset", ("*.parquet",))
    assert locate(SET, tmp_path) == hub.folder
    assert open_source(SET, None, 1, SIZE).folder == hub.folder
    assert [asked[-1] for asked in hub.asked[3:]] == [True, True]


def test_the_data_root_comes_before_the_hub(tmp_path: Path, hub: Hub) -> None:
    one_file(tmp_path / "set" / "train-00000-of-00001.parquet", 9)
    assert open_source(SET, tmp_path, 1, SIZE).folder == tmp_path / "set"
    assert not hub.asked


def test_a_hub_that_does_not_give_it(tmp_path: Path, hub: Hub) -> None:
    other = Source("set", hub="owner/other")
    with pytest.raises(UserError, match=r"no folder set and the hub did not give it \(404") as told:
        open_source(other, tmp_path, 1, SIZE)
    assert "\n" not in str(told.value)
    assert "hf download owner/other --repo-type dataset" in str(told.value)


def test_offline_means_that_nobody_is_asked(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="has no folder set; hf download"):
        open_source(SET, tmp_path, 1, SIZE)
    assert all(asked[-1] for asked in hub.asked)


def test_an_empty_folder_is_not_filled_from_the_hub(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(UserError, match=r"set holds neither .*hf download owner/set"):
        open_source(SET, tmp_path, 1, SIZE)
    assert all(asked[-1] for asked in hub.asked)


def test_without_the_hubs_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("ifnormal.data.sources.locations.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="has no folder set and the hub did not give it"):
        open_source(SET, tmp_path, 1, SIZE)


def test_a_set_without_a_hub_is_put_there_by_hand(tmp_path: Path) -> None:
    source = Source("mine", note="ask Ann")
    assert how_to_get(source, tmp_path) == (
        f"put it into {tmp_path / 'mine'} as Parquet files or as train/CLASS/*.png (ask Ann)"
    )


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LazyImages, list[int]]:
    """Six images in a file, and a list of how many were decoded each time."""
    import torch

    monkeypatch.setattr(decoded_cache, "LEAST_IMAGES", 3)
    path = tmp_path / "images"
    path.write_bytes(b"six images")
    decoded: list[int] = []

    def decode(chosen: object) -> np.ndarray:
        chosen = list(chosen)  # type: ignore[call-overload]
        decoded.append(len(chosen))
        return np.stack([grey(n, 2)[None] for n in chosen])

    return LazyImages(torch.zeros(6).long(), ("a",), (path,), "grey", decode), decoded


def test_images_are_decoded_once(tmp_path: Path, counted: tuple[LazyImages, list[int]]) -> None:
    import torch

    lazy, decoded = counted
    some = torch.tensor([5, 0, 2])
    for _ in range(2):
        assert cached(lazy).read(some).images[:, 0, 0, 0].tolist() == [5, 0, 2]
        assert cached(lazy).read().images[:, 0, 0, 0].tolist() == list(range(6))
    assert decoded == [1, 6]
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.suffix == ".npy"


def test_a_changed_file_or_another_reading_is_decoded_anew(
    counted: tuple[LazyImages, list[int]],
) -> None:
    from dataclasses import replace

    lazy, decoded = counted
    cached(lazy).read()
    cached(replace(lazy, reading="colour")).read()
    os.utime(lazy.files[0], (1, 1))
    cached(lazy).read()
    assert decoded == [1, 6, 1, 6, 1, 6]


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_a_damaged_or_deleted_cache_does_no_harm(
    tmp_path: Path, counted: tuple[LazyImages, list[int]], damage: bytes | None
) -> None:
    lazy, _ = counted
    cached(lazy).read()
    (kept,) = (tmp_path / "cache").iterdir()
    if damage is None:
        kept.write_bytes(kept.read_bytes()[:-3])
    else:
        kept.write_bytes(damage)
    assert cached(lazy).read().images[:, 0, 0, 0].tolist() == list(range(6))
    kept.unlink()
    assert cached(lazy).read().images[:, 0, 0, 0].tolist() == list(range(6))


def test_a_cache_that_cannot_be_written_or_would_be_too_large(
    tmp_path: Path,
    counted: tuple[LazyImages, list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    lazy, decoded = counted
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert cached(lazy).read(torch.tensor([4])).images.unique().tolist() == [4]
    (tmp_path / "cache").unlink()
    monkeypatch.setattr(decoded_cache, "_MOST_BYTES", 6 * 4 - 1)
    assert cached(lazy).read(torch.tensor([4])).images.unique().tolist() == [4]
    assert decoded == [1, 6, 1, 1]
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(decoded_cache, "LEAST_IMAGES", 7)
    assert cached(lazy) is lazy
