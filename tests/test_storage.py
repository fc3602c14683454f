"""Files are whole or absent, and damage is noticed."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ifnormal.common import storage
from ifnormal.common.errors import UserError
from ifnormal.common.storage import load_tensors, read_json, save_tensors, write_atomic, write_json

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # surrogates too: names of files may hold them
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


TENSORS = {
    "float": torch.linspace(-1, 1, 7).reshape(7, 1),
    "bytes": torch.arange(256, dtype=torch.uint8),
    "empty": torch.zeros(0, 3),
    "scalar": torch.tensor(2.5),
    "transposed": torch.arange(6).reshape(2, 3).T,
}


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def weights_of(folder: Path) -> Path:
    (path,) = folder.glob("*.safetensors")
    return path


class TestWriteAtomic:
    def test_text_and_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "folder" / "a.txt"
        assert write_atomic(path, "grün") == path
        assert path.read_bytes() == "grün".encode()
        write_atomic(path, b"\x00\xff")
        assert path.read_bytes() == b"\x00\xff"
        assert files(path.parent) == {"a.txt"}

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    @pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
    def test_failing_write_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
    ) -> None:
        path = write_atomic(tmp_path / "a.txt", "old")

        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
        with pytest.raises(type(error)):
            write_atomic(path, "new")
        assert path.read_text() == "old"
        assert files(tmp_path) == {"a.txt"}

    def test_the_new_bytes_are_on_disk_before_they_get_the_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events = []
        fsync, replace = os.fsync, Path.replace

        def spy_fsync(descriptor: int) -> None:
            events.append("fsync")
            fsync(descriptor)

        def spy_replace(source: Path, target: Path) -> Path:
            events.append("replace")
            assert source.parent == target.parent, "a rename is atomic on one file system only"
            return replace(source, target)

        monkeypatch.setattr(os, "fsync", spy_fsync)
        monkeypatch.setattr(Path, "replace", spy_replace)
        write_atomic(tmp_path / "a.txt", "new")
        assert events == ["fsync", "replace"]

    @pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
    def test_permissions_follow_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0o077)
        try:
            path = write_atomic(tmp_path / "private", "x")
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o600


class TestJson:
    @given(st.dictionaries(st.text(), json_values, max_size=5))
    def test_round_trip(self, value: dict[str, object]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = write_json(Path(folder) / "a.json", value)
            assert read_json(path) == value

    def test_paths_become_strings(self, tmp_path: Path) -> None:
        path = write_json(tmp_path / "a.json", {"root": Path("data") / "mnist"})
        assert read_json(path) == {"root": str(Path("data") / "mnist")}

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
    def test_no_number_is_refused(self, tmp_path: Path, number: float) -> None:
        path = write_json(tmp_path / "a.json", {"mse": 1.0})
        with pytest.raises(ValueError, match="JSON compliant"):
            write_json(path, {"mse": number})
        assert read_json(path) == {"mse": 1.0}

    def test_a_tensor_is_refused_not_printed(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match="Tensor"):
            write_json(tmp_path / "a.json", {"mse": torch.tensor(0.5)})
        assert files(tmp_path) == set()

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "does not exist"),
            (b"", "cannot be read as JSON"),
            (b'{"half": ', "cannot be read as JSON"),
            (b"\xff\xfe\x00", "cannot be read as JSON"),
            (b"[" * 200_000, "cannot be read as JSON"),
            (b"[1, 2]", "no JSON object"),
        ],
    )
    def test_what_is_no_json_object(
        self, tmp_path: Path, content: bytes | None, message: str
    ) -> None:
        path = tmp_path / "a.json"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=message) as error:
            read_json(path)
        assert str(path) in str(error.value)


class TestTensors:
    def test_round_trip(self, tmp_path: Path) -> None:
        save_tensors(tmp_path / "new", "net", TENSORS, {"version": 1})
        tensors, facts = load_tensors(tmp_path / "new", "net")
        assert facts == {"version": 1}
        assert tensors.keys() == TENSORS.keys()
        for key, tensor in TENSORS.items():
            assert tensors[key].dtype == tensor.dtype
            assert torch.equal(tensors[key], tensor)

    def test_tied_and_learning_tensors(self, tmp_path: Path) -> None:
        weight = torch.nn.Parameter(torch.rand(4))
        save_tensors(tmp_path, "net", {"a": weight, "b": weight, "c": weight[1:]}, {})
        tensors, _ = load_tensors(tmp_path, "net")
        assert torch.equal(tensors["b"], weight)
        assert torch.equal(tensors["c"], weight[1:])

    def test_saving_again_leaves_one_weights_file(self, tmp_path: Path) -> None:
        for seed in range(3):
            save_tensors(tmp_path, "net", {"w": torch.full((2,), float(seed))}, {"seed": seed})
        assert files(tmp_path) == {"net.json", weights_of(tmp_path).name}
        tensors, facts = load_tensors(tmp_path, "net")
        assert facts == {"seed": 2}
        assert tensors["w"].tolist() == [2, 2]

    def test_a_longer_name_is_somebody_else(self, tmp_path: Path) -> None:
        save_tensors(tmp_path, "net-slow", {"w": torch.ones(1)}, {})
        save_tensors(tmp_path, "net", {"w": torch.zeros(1)}, {})
        assert load_tensors(tmp_path, "net-slow")[0]["w"].item() == 1

    def test_crash_between_weights_and_json_leaves_the_old_pair(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_tensors(tmp_path, "net", {"w": torch.zeros(2)}, {"seed": 0})

        def crash(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(storage, "write_json", crash)
            with pytest.raises(KeyboardInterrupt):
                save_tensors(tmp_path, "net", {"w": torch.ones(2)}, {"seed": 1})
        tensors, facts = load_tensors(tmp_path, "net")
        assert facts == {"seed": 0}
        assert tensors["w"].tolist() == [0, 0]

        save_tensors(tmp_path, "net", {"w": torch.full((2,), 2.0)}, {"seed": 2})
        assert len(files(tmp_path)) == 2, "the next save clears what the crash left"

    def test_what_a_kill_left_half_written_goes_with_the_next_save(self, tmp_path: Path) -> None:
        dead = {f".net.json.{'0' * 16}", f".net-0123456789ab.safetensors.{'f' * 16}"}
        others = {f".net-slow.json.{'0' * 16}", f".net.json.{'0' * 15}", ".net.json", ".netrc"}
        for name in dead | others:
            (tmp_path / name).write_bytes(b"half")
        save_tensors(tmp_path, "net", {"w": torch.zeros(1)}, {})
        assert files(tmp_path) == {"net.json", weights_of(tmp_path).name, *others}

    def test_any_flipped_byte_is_noticed(self, tmp_path: Path) -> None:
        save_tensors(tmp_path, "net", {"w": torch.zeros(4)}, {})
        path = weights_of(tmp_path)
        whole = path.read_bytes()
        for position in (0, len(whole) // 2, len(whole) - 1):
            damaged = bytearray(whole)
            damaged[position] ^= 1
            path.write_bytes(damaged)
            with pytest.raises(UserError, match="damaged"):
                load_tensors(tmp_path, "net")
        path.write_bytes(whole[:-1])
        with pytest.raises(UserError, match="damaged"):
            load_tensors(tmp_path, "net")

    def test_missing_weights(self, tmp_path: Path) -> None:
        save_tensors(tmp_path, "net", {"w": torch.zeros(4)}, {})
        weights_of(tmp_path).unlink()
        with pytest.raises(UserError, match="missing"):
            load_tensors(tmp_path, "net")

    @pytest.mark.parametrize(
        "weights", [None, 3, "../net.safetensors", "/etc/passwd", "a/b", "..", "", "a\0b"]
    )
    def test_weights_outside_the_folder_are_never_read(
        self, tmp_path: Path, weights: object
    ) -> None:
        (tmp_path / "net.safetensors").write_bytes(b"")
        folder = tmp_path / "run"
        write_json(folder / "net.json", {"weights": weights, "sha256": "0"})
        with pytest.raises(UserError, match="write the folder again"):
            load_tensors(folder, "net")

    def test_weights_that_are_no_safetensors(self, tmp_path: Path) -> None:
        content = b"not tensors"
        (tmp_path / "w").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        (tmp_path / "net.json").write_text(json.dumps({"weights": "w", "sha256": digest}))
        with pytest.raises(UserError, match="holds no tensors"):
            load_tensors(tmp_path, "net")
