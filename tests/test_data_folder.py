import random
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ifnormal.common.errors import UserError
from ifnormal.data.files import decoding as reading
from ifnormal.data.files.decoding import decode
from ifnormal.data.files.reading import read_images


def save(path: Path, value: int = 0, size: tuple[int, int] = (4, 4)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)
    return path


def test_images_to_explain_come_from_files_and_folders(tmp_path: Path) -> None:
    one = save(tmp_path / "one.png", 10)
    save(tmp_path / "more" / "b.png", 30)
    save(tmp_path / "more" / "a.png", 20, size=(9, 3))
    images, names = read_images([one, tmp_path / "more"], (3, 8, 8))
    assert images.shape == (3, 3, 8, 8)
    assert images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert [Path(name).name for name in names] == ["one.png", "a.png", "b.png"]


def test_mistakes_in_images_to_explain_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.png cannot be read .*No such file"):
        read_images([tmp_path / "gone.png"], (3, 8, 8))
    with pytest.raises(UserError, match="no images to read"):
        read_images([], (3, 8, 8))
    with pytest.raises(UserError, match="5 are needed"):
        read_images([save(tmp_path / "one.png")], (5, 8, 8))
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(UserError, match=r"text\.png cannot be read .*no known image format"):
        read_images([tmp_path], (3, 8, 8))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_photographs_are_turned_upright() -> None:
    image = Image.new("L", (4, 2))
    exif = image.getexif()
    exif[0x0112] = 6
    assert decode(encoded(image, "JPEG", exif=exif), 1, "photo").shape == (1, 4, 2)


def test_unusual_modes_keep_their_look() -> None:
    sixteen = Image.fromarray(np.full((2, 2), 32768, np.uint16))
    assert decode(encoded(sixteen), 1, "16 bit").tolist() == [[[128, 128], [128, 128]]]
    clear = Image.new("RGBA", (1, 1), (200, 0, 0, 0))
    assert decode(encoded(clear), 3, "transparent").flatten().tolist() == [255, 255, 255]
    palette = Image.new("RGB", (1, 1), (0, 0, 255)).convert("P")
    assert decode(encoded(palette), 3, "palette").flatten().tolist() == [0, 0, 255]
    with pytest.raises(UserError, match="floating-point"):
        decode(encoded(Image.new("F", (1, 1)), "TIFF"), 1, "float")


def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_PIXELS", 60)
    with pytest.raises(UserError, match="bomb"):
        decode(encoded(Image.new("L", (8, 8))), 1, "large")


def test_scaling_keeps_the_whole_frame() -> None:
    array = np.zeros((8, 16), np.uint8)
    array[:, 8:] = 200
    image = decode(encoded(Image.fromarray(array)), 1, "halves", (4, 4))
    assert image.shape == (1, 4, 4)
    assert image[0, :, 0].max() < 20
    assert image[0, :, 3].min() > 180


@settings(deadline=None, max_examples=150)
@given(kind=st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"]), seed=st.integers(0))
def test_damage_gives_an_image_or_a_user_error(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    content = bytearray(encoded(Image.new("RGB", (12, 12), (200, 90, 10)), kind))
    for _ in range(rng.randint(1, 5)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    del content[rng.randrange(len(content)) :]
    message = ""
    try:
        array = decode(bytes(content), 3, "damaged", (12, 12))
    except UserError as error:
        message = str(error)
    assert "damaged cannot be read" in message or array.shape == (3, 12, 12)
