"""Images as users have them become one tensor, or one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ifnormal.common.errors import UserError
from ifnormal.data.files.image_input import as_images, default_shape

RED = (255, 0, 0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two red pictures of 20x12 pixels and one grey of other size."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    Image.new("RGB", (20, 12), RED).save(folder / "a.png")
    Image.new("RGB", (20, 12), RED).save(folder / "b.png")
    Image.new("L", (8, 8), 9).save(folder / "more" / "c.png")
    return folder


class TestFiles:
    def test_a_folder(self, pictures: Path) -> None:
        images, names = as_images(pictures, (3, 8, 8))
        assert images.shape == (3, 3, 8, 8)
        assert [Path(name).name for name in names] == ["a.png", "b.png", "c.png"]
        assert images[0, :, 4, 4].tolist() == [255, 0, 0]

    def test_text_paths_and_lists(self, pictures: Path) -> None:
        one, _ = as_images(str(pictures / "a.png"), (1, 4, 4))
        two, _ = as_images([str(pictures / "a.png"), pictures / "b.png"], (1, 4, 4))
        assert (len(one), len(two)) == (1, 2)
        assert torch.equal(one[0], two[0])

    def test_the_first_decides_on_the_shape(self, pictures: Path) -> None:
        assert as_images(pictures, None)[0].shape == (3, 3, 12, 20)

    def test_a_bad_file_is_left_out_with_a_warning(self, pictures: Path) -> None:
        (pictures / "b.png").write_bytes(b"no image")
        with pytest.warns(UserWarning, match=r"b\.png .*is left out"):
            images, names = as_images(pictures, (3, 8, 8))
        assert len(images) == len(names) == 2

    def test_only_bad_files(self, tmp_path: Path) -> None:
        (tmp_path / "b.png").write_bytes(b"no image")
        with pytest.raises(UserError, match="can be read"):
            as_images(tmp_path, (3, 8, 8))

    def test_none(self) -> None:
        with pytest.raises(UserError, match="no images"):
            as_images([], (3, 8, 8))


class TestArrays:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_uint8_and_float_are_the_same_pixels(self, channels: int) -> None:
        array = np.random.default_rng(0).integers(0, 256, (2, 5, 7, channels), dtype=np.uint8)
        eight, names = as_images(array, None)
        assert eight.shape == (2, channels, 5, 7)
        assert names == ("0", "1")
        assert np.array_equal(eight[0].numpy(), array[0].transpose(2, 0, 1))
        for kind in (np.float32, np.float64):
            assert torch.equal(as_images((array / 255).astype(kind), None)[0], eight)

    def test_grey_arrays_need_no_channel(self) -> None:
        assert as_images(np.zeros((4, 6, 6), np.uint8), (1, 6, 6))[0].shape == (4, 1, 6, 6)

    def test_a_list_of_arrays(self) -> None:
        images = [np.full((6, 6, 3), value, np.uint8) for value in (1, 2)]
        assert as_images(images, None)[0][:, 0, 0, 0].tolist() == [1, 2]  # type: ignore[arg-type]

    def test_tensors_stay_as_they_are(self) -> None:
        images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
        assert torch.equal(as_images(images, (3, 4, 4))[0], images)
        assert torch.equal(as_images(images.float() / 255, (3, 4, 4))[0], images)

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (torch.zeros(2, 4, 4), "is \\(N, 1 or 3, H, W\\)"),
            (torch.zeros(2, 4, 4, 3), "reorder"),
            (torch.zeros(2, 3, 4, 4, dtype=torch.int64), "uint8"),
            (torch.full((2, 3, 4, 4), 255.0), "rescale"),
            (torch.full((2, 3, 4, 4), -1.0), "rescale"),
            (torch.full((2, 3, 4, 4), torch.nan), "rescale"),
            (np.zeros((2, 3, 4, 4), np.uint8), "reorder"),
            (np.zeros((2, 4, 4, 3), np.uint16), "uint8"),
            (np.zeros((2, 4, 4, 3), bool), "uint8"),
            (np.zeros((4, 4), np.uint8), "reorder"),
            (torch.zeros(2, 3, 8, 8), "3x4x4"),
            ([1, 2], "not int"),
            (["a.png", torch.zeros(3, 4, 4)], "not str"),
        ],
    )
    def test_refused(self, given: Any, words: str) -> None:
        with pytest.raises(UserError, match=words):
            as_images(given, (3, 4, 4))

    def test_arrays_of_two_sizes(self) -> None:
        with pytest.raises(UserError, match="differ in size"):
            as_images([torch.zeros(3, 4, 4), torch.zeros(3, 8, 8)], None)  # type: ignore[arg-type]


class TestPillow:
    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
    def test_every_mode(self, mode: str) -> None:
        images, _ = as_images([Image.new(mode, (9, 6))], (3, 4, 8))
        assert images.shape == (1, 3, 4, 8)

    def test_one(self) -> None:
        images, _ = as_images(Image.new("RGB", (8, 8), RED), None)
        assert images[0, :, 0, 0].tolist() == [255, 0, 0]


class TestDefaultShape:
    @pytest.mark.parametrize(
        ("size", "takes", "expected"),
        [
            ((32, 32), (None, None, None), (3, 32, 32)),
            ((900, 900), (None, None, None), (3, 128, 128)),
            ((900, 900), (3, 224, 224), (3, 128, 128)),
            ((900, 900), (3, 64, 64), (3, 64, 64)),
            ((900, 450), (None, None, None), (3, 128, 64)),
            ((33, 30), (None, None, None), (3, 32, 32)),
            ((50, 50), (1, 28, 28), (1, 28, 28)),
            ((1, 1), (None, None, None), (3, 4, 4)),
        ],
    )
    def test_files(
        self,
        tmp_path: Path,
        size: tuple[int, int],
        takes: tuple[int | None, int | None, int | None],
        expected: tuple[int, int, int],
    ) -> None:
        Image.new("RGB", size[::-1]).save(tmp_path / "a.png")
        assert default_shape(tmp_path, takes) == expected

    def test_lying_photos(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (64, 32)).save(tmp_path / "a.jpg", exif=exif)
        assert default_shape(tmp_path) == (3, 64, 32)

    def test_arrays_keep_theirs(self) -> None:
        assert default_shape(np.zeros((2, 200, 100), np.uint8)) == (1, 200, 100)

    def test_the_first_that_can_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(b"no image")
        Image.new("L", (12, 8)).save(tmp_path / "b.png")
        assert default_shape(tmp_path) == (1, 8, 12)
        (tmp_path / "b.png").unlink()
        with pytest.raises(UserError, match="can be read"):
            default_shape(tmp_path)
