"""Images from the wild: nothing good is lost, nothing bad does harm, everything bad is named."""

from __future__ import annotations

import os
import random
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, TiffImagePlugin

from ifnormal.common.errors import UserError, printable
from ifnormal.data.files import decoding as reading
from ifnormal.data.files import opening
from ifnormal.data.files.decoding import decode, decode_with_facts
from ifnormal.data.files.finding import READ, SUFFIXES, find_images
from ifnormal.data.files.image_input import natural_shape
from ifnormal.data.files.opening import UnreadableImageError
from ifnormal.data.files.reading import BadImage, read_good_images, read_images
from wild_corpus import BOMBS, CASES, MODES, PLACES, Bad, Case, Good, write
from wild_files import RED, encoded, picture

GOOD = [case for case in CASES if isinstance(case, Good)]
BAD = [case for case in CASES if isinstance(case, Bad)]
SHAPE = (3, 8, 8)


def named(case: Case) -> str:
    return ascii(case.name)[1:-1][:40]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file of the corpus."""
    folder = tmp_path_factory.mktemp("wild")
    for case in CASES:
        write(case, folder)
    return folder


@contextmanager
def peak_megabytes() -> Iterator[list[float]]:
    """The most memory that the process came to hold inside, above what it held before."""
    reset = Path("/proc/self/clear_refs")
    if not os.access(reset, os.W_OK):
        pytest.skip("the system does not tell peaks of memory")
    reset.write_text("5")
    before, peak = _resident("VmRSS"), [0.0]
    yield peak
    peak[0] = _resident("VmHWM") - before


def _resident(key: str) -> float:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) / 1024


class TestCorpus:
    def test_is_large_and_has_no_name_twice(self) -> None:
        assert len(GOOD) >= 60
        assert len(BAD) >= 60
        assert len({case.name for case in CASES}) == len(CASES)

    @pytest.mark.parametrize("case", GOOD, ids=named)
    def test_good(self, case: Good, corpus: Path, capfd: pytest.CaptureFixture[str]) -> None:
        path = corpus / case.name
        image = decode(path, 3, "it")
        assert image.shape == (3, *case.size)
        assert np.abs(image[:, 0, 0].astype(int) - case.corner).max() <= case.within
        assert np.array_equal(decode(path.read_bytes(), 3, "it"), image)
        assert decode(path, 1, "it", (5, 7)).shape == (1, 5, 7)
        _, facts = decode_with_facts(path, 3, "it")
        assert (facts.height, facts.width) == case.size
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("case", BAD, ids=named)
    def test_bad(self, case: Bad, corpus: Path, capfd: pytest.CaptureFixture[str]) -> None:
        begun = time.process_time()
        with pytest.raises(UnreadableImageError, match=r"^it cannot be read as an image") as raised:
            decode(corpus / case.name, 3, "it", (8, 8))
        assert time.process_time() - begun < 1
        assert case.reason in raised.value.reason
        assert raised.value.reason in str(raised.value)
        assert printable(raised.value.reason) == raised.value.reason
        assert len(raised.value.reason) < 150
        assert capfd.readouterr() == ("", "")

    def test_nothing_good_is_lost_and_everything_bad_is_named(self, corpus: Path) -> None:
        read = read_good_images(find_images([corpus]), SHAPE)
        good = sorted(case.name for case in GOOD)
        # An empty folder is no image, whatever its name; a suffix may be none of an image's.
        bad = {
            case.name: case.reason
            for case in BAD
            if case.name != "folder.png" and Path(case.name).suffix in SUFFIXES
        }
        assert sorted(Path(name).name for name in read.names) == good
        assert read.images.shape == (len(good), *SHAPE)
        skipped = {Path(found.path).name: found.reason for found in read.skipped}
        assert skipped.keys() == bad.keys()
        assert all(bad[name] in reason for name, reason in skipped.items())
        first = read.names.index((corpus / "plain.png").as_posix())
        assert read.images[first, :, 0, 0].tolist() == list(RED)

    def test_half_turned_photographs_lie_right(self, corpus: Path) -> None:
        for turn in range(1, 9):
            image = decode(corpus / f"turned {turn}.jpg", 3, "it").astype(int)
            quarters = [image[:, 8, 8], image[:, 8, 40], image[:, 24, 8], image[:, 24, 40]]
            assert [bool(quarter[0] > 100) for quarter in quarters] == [True, False, False, False]


class TestBombs:
    @pytest.mark.parametrize("case", BOMBS, ids=named)
    def test_take_no_memory(self, case: Bad, corpus: Path) -> None:
        with peak_megabytes() as peak, pytest.raises(UnreadableImageError):
            decode(corpus / case.name, 3, "it", (8, 8))
        assert peak[0] < 32

    def test_are_refused_before_their_pixels(
        self, corpus: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def decoded(*_: Any) -> None:
            pytest.fail("pixels were decoded")

        for kind in (ImageFile.ImageFile, TiffImagePlugin.TiffImageFile):
            monkeypatch.setattr(kind, "load_prepare", decoded)
        refused = [case for case in BOMBS if "long" not in case.name]
        for case in refused:
            with pytest.raises(UnreadableImageError):
                decode(corpus / case.name, 3, "it")
        with pytest.raises(pytest.fail.Exception, match="pixels were decoded"):
            decode(corpus / "plain.png", 3, "it")

    def test_the_limits_are_inclusive(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "MAX_PIXELS", 24)
        assert decode(encoded(picture()), 1, "it").shape == (1, 4, 6)
        monkeypatch.setattr(reading, "MAX_PIXELS", 23)
        with pytest.raises(UserError, match="more than 23 pixels"):
            decode(encoded(picture()), 1, "it")
        monkeypatch.undo()
        monkeypatch.setattr(reading, "MAX_SIDE", 5)
        with pytest.raises(UserError, match="one of its sides has 6 pixels, more than 5"):
            decode(encoded(picture()), 1, "it")

    def test_a_photograph_of_sixty_megapixels_is_no_bomb(self, tmp_path: Path) -> None:
        Image.new("1", (9504, 6336)).save(tmp_path / "camera.png")
        _, facts = decode_with_facts(tmp_path / "camera.png", 1, "it", (4, 6))
        assert facts.width == 9504


class TestPlaces:
    def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(tmp_path / "pipe.png")
        regular = os.stat(__file__)  # noqa: PTH116
        monkeypatch.setattr(opening.Path, "stat", lambda *_, **__: regular)
        with pytest.raises(UserError, match="it is a pipe"):
            decode(tmp_path / "pipe.png", 3, "it")

    @pytest.mark.parametrize("case", PLACES, ids=named)
    def test_named_explicitly(self, case: Bad, tmp_path: Path) -> None:
        path = write(case, tmp_path)
        if path.is_dir():
            with pytest.raises(UserError, match="holds no images"):
                find_images([path])
        else:
            assert find_images([path]) == [path]
            (skipped,) = read_good_images([path], SHAPE).skipped
            assert case.reason in skipped.reason

    def test_files_that_may_not_be_read(self) -> None:
        with TemporaryDirectory() as name, _as_nobody(Path(name)) as drop:
            folder = Path(name)
            closed = folder / "closed.png"
            closed.write_bytes(encoded(picture()))
            (folder / "open.png").write_bytes(encoded(picture()))
            (folder / "inner").mkdir()
            (folder / "inner" / "lost.png").write_bytes(encoded(picture()))
            for path in (closed, folder / "inner"):
                path.chmod(0)
            drop()
            read = read_good_images(find_images([folder]), SHAPE)
            with pytest.raises(UserError, match=r"closed\.png cannot be read .*Permission denied"):
                read_images([closed], SHAPE)
        assert [Path(path).name for path in read.names] == ["open.png"]
        assert [(Path(bad.path).name, bad.reason) for bad in read.skipped] == [
            ("closed.png", "Permission denied"),
            ("inner", "Permission denied"),
        ]

    def test_a_disk_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Failing(BytesIO):
            def read(self, *_: Any) -> bytes:
                raise OSError(5, "Input/output error")

        monkeypatch.setattr(reading, "open_file", lambda _: Failing())
        (skipped,) = read_good_images([tmp_path / "a.png"], SHAPE).skipped
        assert skipped.reason == "it is damaged: Input/output error"

    def test_too_little_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def starved(*_: Any, **__: Any) -> None:
            raise MemoryError

        monkeypatch.setattr(reading, "_eight_bit", starved)
        with pytest.raises(UserError, match="not enough memory"):
            decode(encoded(picture()), 3, "it")


@contextmanager
def _as_nobody(folder: Path) -> Iterator[Callable[[], None]]:
    """Root may read everything: be somebody else from the call of what is given until the end."""
    folder.chmod(0o755)
    root = os.geteuid() == 0
    try:
        yield lambda: os.seteuid(65534) if root else None
    finally:
        if root:
            os.seteuid(0)
        for path in folder.rglob("*"):
            path.chmod(0o755)


class TestFolders:
    def test_links_are_followed_once_and_loops_end(self, tmp_path: Path) -> None:
        (tmp_path / "real" / "deep").mkdir(parents=True)
        write(Good("a.png", encoded(picture())), tmp_path / "real" / "deep")
        (tmp_path / "elsewhere").mkdir()
        write(Good("b.png", encoded(picture())), tmp_path / "elsewhere")
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "a link").symlink_to(tmp_path / "real")
        (folder / "another").symlink_to(tmp_path / "real" / "deep")
        (folder / "z").mkdir()
        (folder / "z" / "up").symlink_to(folder)
        (folder / "z" / "self").symlink_to("self")
        (folder / "m").symlink_to(folder / "z")
        write(Good("c.png", encoded(picture())), folder / "z")
        (folder / "y").symlink_to(tmp_path / "elsewhere")
        names = [path.relative_to(folder).as_posix() for path in find_images([folder])]
        assert names == ["a link/deep/a.png", "y/b.png", "z/c.png"]

    def test_folders_with_the_name_of_an_image_are_folders(self, tmp_path: Path) -> None:
        (tmp_path / "x.png").mkdir()
        inner = write(Good("y.png", encoded(picture())), tmp_path / "x.png")
        assert find_images([tmp_path]) == [inner]
        assert find_images([tmp_path / "x.png"]) == [inner]

    def test_hidden_files_are_read_only_when_named(self, tmp_path: Path) -> None:
        hidden = write(Good(".hidden.png", encoded(picture())), tmp_path)
        seen = write(Good("seen.png", encoded(picture())), tmp_path)
        assert find_images([tmp_path]) == [seen]
        assert find_images([hidden, seen]) == [hidden, seen]

    def test_other_files_are_passed_over_but_read_when_named(self, tmp_path: Path) -> None:
        image = write(Good("picture.dat", encoded(picture())), tmp_path)
        with pytest.raises(UserError, match="holds no images"):
            find_images([tmp_path])
        assert len(read_good_images(find_images([image]), SHAPE)) == 1
        (tmp_path / "photo.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
        assert [path.name for path in find_images([tmp_path])] == ["photo.HEIC"], "not lost unseen"

    def test_every_suffix_that_is_read_can_be_written(self, tmp_path: Path) -> None:
        kinds = {".apng": "PNG", ".jpe": "JPEG", ".pgm": "PPM", ".pbm": "PPM", ".pnm": "PPM"}
        for suffix in READ:
            picture().save(tmp_path / f"it{suffix}", kinds.get(suffix))
        assert len(read_good_images(find_images([tmp_path]), SHAPE)) == len(READ)


class TestManyFiles:
    def test_bad_ones_take_no_memory_and_are_named_in_order(self, tmp_path: Path) -> None:
        files = []
        for number in range(7):
            content = b"" if number in (1, 2, 3) else encoded(picture("L", color=number))
            files.append(write(Good(f"{number}.png", content), tmp_path))
        whole = read_good_images(files, (1, 4, 6))
        assert whole.images[:, 0, 0, 0].tolist() == [0, 4, 5, 6]
        assert whole.skipped == tuple(
            BadImage(files[number].as_posix(), "it is empty") for number in (1, 2, 3)
        )
        assert whole.images.untyped_storage().nbytes() == whole.images.numel()

    def test_stop_at_a_bad_file_if_that_is_wanted(self, tmp_path: Path) -> None:
        bad = write(Bad("\x1b[1mbad.png", b"", ""), tmp_path)
        with pytest.raises(UserError, match=r"\\x1b\[1mbad\.png cannot be read .*it is empty"):
            read_good_images([bad], SHAPE, "error")
        with pytest.raises(UserError, match="2 are needed"):
            read_good_images([bad], (2, 8, 8))

    def test_reading_in_threads_changes_nothing(self, corpus: Path) -> None:
        paths = [corpus / case.name for case in MODES]
        alone = [decode(path, 3, "it").tolist() for path in paths]
        before = list(warnings.filters)
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda path: decode(path, 3, "it").tolist(), paths * 3))
        assert together == alone * 3
        assert list(warnings.filters) == before


KINDS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 60},
    "GIF": {},
    "WEBP": {},
    "BMP": {},
    "PPM": {},
    "TIFF": {},
    "LZW": {"format": "TIFF", "compression": "tiff_lzw"},
    "DEFLATE": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
    "JPEG in TIFF": {"format": "TIFF", "compression": "jpeg"},
    "ANIMATION": {"format": "WEBP", "save_all": True, "append_images": [picture(size=(11, 13))]},
    "MPO": {"save_all": True, "append_images": [picture(size=(11, 13))]},
}
START = {
    kind: encoded(
        Image.fromarray(np.arange(13 * 11 * 3, dtype=np.uint8).reshape(13, 11, 3)),
        **{"kind": options.get("format", kind)},
        **{key: value for key, value in options.items() if key != "format"},
    )
    for kind, options in KINDS.items()
}


class TestAnyBytes:
    """Whatever the bytes are, there is an image or one sentence, and soon."""

    def read(self, content: bytes) -> None:
        begun = time.process_time()
        try:
            image = decode(content, 3, "it", (8, 8))
        except UserError as error:
            assert str(error).startswith("it cannot be read as an image (")  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert image.shape == (3, 8, 8)
        assert time.process_time() - begun < 2

    @settings(max_examples=300)
    @given(content=st.binary(max_size=300), start=st.sampled_from(["", *START]))
    def test_arbitrary(self, content: bytes, start: str) -> None:
        self.read(START[start][:12] + content if start else content)

    @settings(max_examples=600)
    @given(kind=st.sampled_from(sorted(START)), seed=st.integers(0, 2**32))
    def test_damaged(self, kind: str, seed: int) -> None:
        rng = random.Random(seed)
        content = bytearray(START[kind])
        for _ in range(rng.randint(0, 6)):
            # Headers are where lies do harm.
            where = rng.randrange(min(len(content), rng.choice([64, 256, 10**9])))
            content[where] = rng.choice([0, 0xFF, 0x7F, 0x80, rng.randrange(256)])
        if rng.random() < 0.4:
            del content[rng.randrange(len(content)) :]
        if rng.random() < 0.1:
            at = rng.randrange(len(content) + 1)
            content[at:at] = rng.randbytes(rng.randint(1, 40))
        self.read(bytes(content))

    @pytest.mark.parametrize("kind", sorted(START))
    def test_cut_anywhere(self, kind: str) -> None:
        whole = START[kind]
        for length in range(0, len(whole), max(1, len(whole) // 60)):
            self.read(whole[:length])


@pytest.mark.skipif("IFNORMAL_DATA" not in os.environ, reason="needs real images")
def test_real_photographs_read_from_files_as_from_their_table(tmp_path: Path) -> None:
    from ifnormal.data.sources.parquet import ParquetImages

    parquet = pytest.importorskip("pyarrow.parquet")
    folder = Path(os.environ["IFNORMAL_DATA"]) / "mvtec_bottle"
    if not folder.is_dir():
        pytest.skip("needs mvtec_bottle")
    table = parquet.read_table(folder / "test-00000-of-00001.parquet", columns=["image"])
    for number, image in enumerate(table.column("image").to_pylist()):
        (tmp_path / f"{number:03}.png").write_bytes(image["bytes"])
    (tmp_path / "010 half.png").write_bytes(image["bytes"][:1500])
    read = read_good_images(find_images([tmp_path]), (3, 128, 128))
    assert torch.equal(read.images, ParquetImages(folder).read("test").images)
    assert [Path(bad.path).name for bad in read.skipped] == ["010 half.png"]


def test_the_natural_size_is_that_of_the_first_image_that_can_be_read(
    corpus: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "a pipe.png")
    (tmp_path / "b cut.png").write_bytes(encoded(picture(size=(40, 40)))[:-30])
    (tmp_path / "c turned.tif").write_bytes((corpus / "turned.tif").read_bytes())
    assert natural_shape(tmp_path) == (3, 32, 48)
    assert natural_shape([tmp_path / "b cut.png", corpus / "sixteen.png"]) == (1, 4, 6)
    with pytest.raises(UserError, match="no image that can be read"):
        natural_shape(tmp_path / "a pipe.png")
