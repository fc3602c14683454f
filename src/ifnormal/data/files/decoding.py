"""Decoding of one image file to an 8-bit array; what cannot be decoded is refused in a sentence."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image, ImageFile

from ifnormal.common.errors import UserError, printable
from ifnormal.data.files.headers import (
    count_pieces,
    sixteen_bits,
    stored_size,
    tile_pixels,
    verify_checksums,
)
from ifnormal.data.files.opening import RefusedError, UnreadableImageError, open_file

Array = np.ndarray[Any, np.dtype[np.uint8]]

# Photographs of 60 megapixels are decoded; decompression bombs are refused by their header.
MAX_PIXELS = 2**26
# Very long sides cost time and memory even if the image has few pixels.
MAX_SIDE = 10**6
# Strips or tiles of a TIFF. Pillow creates an object for each before it decodes anything.
MAX_PIECES = 2**18

# Some of Pillow's other readers start programs or read without limits.
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
_SIGNATURES = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8", "JPEG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"RIFF", "WebP"),
    (b"BM", "BMP"),
)
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LONGEST_REASON = 120

# Warning filters are global to the process.
_warnings_lock = threading.Lock()
# Without a handler Python prints what Pillow logs about odd files.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class ImageFacts:
    """Properties of an image file.

    Attributes:
        format: "PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF" or "PPM", by its content.
        mode: Pillow's pixel mode, such as "RGB", "L" or "I;16".
        height: rows of the upright image.
        width: columns of the upright image.
    """

    format: str
    mode: str
    height: int
    width: int


def decode(
    source: Path | bytes,
    channels: Literal[1, 3],
    name: str,
    size: tuple[int, int] | None = None,
) -> Array:
    """Decode the first frame of an image of any mode, turned upright.

    Args:
        source: path or content of the file.
        channels: 1 for grey, 3 for RGB.
        name: how error messages call the image.
        size: (height, width) to scale the whole frame to. The aspect ratio is not kept, because
            a border would look anomalous and a crop might remove the anomaly.

    Returns:
        (channels, H, W) uint8.

    Raises:
        UnreadableImageError: the image is missing, damaged, too large, or cannot be shown in 8
            bits.
    """
    with _reading(source, name) as opened:
        return _pixels(opened, channels, size)


def decode_with_facts(
    source: Path | bytes,
    channels: Literal[1, 3],
    name: str,
    size: tuple[int, int] | None = None,
) -> tuple[Array, ImageFacts]:
    """Like `decode`, and return the properties of the file as well."""
    with _reading(source, name) as opened:
        facts = _facts(opened)
        return _pixels(opened, channels, size), facts


def _pixels(
    opened: ImageFile.ImageFile, channels: Literal[1, 3], size: tuple[int, int] | None
) -> Array:
    """(channels, H, W): the whole frame, scaled to `size` (height, width) if there is one."""
    image = _eight_bit(opened, channels)
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.LANCZOS)
    array: Array = np.array(image, dtype=np.uint8)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


@contextmanager
def _reading(source: Path | bytes, name: str) -> Iterator[ImageFile.ImageFile]:
    """Open an image; every error becomes an `UnreadableImageError`."""
    try:
        with _warnings_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            with closing(_file(source)) as file, _opened(file) as opened:
                yield opened
    except UserError:
        raise
    except Exception as error:  # damage can raise any in Pillow's decoders
        raise UnreadableImageError(printable(name), _reason(error)) from None


def _file(source: Path | bytes) -> BinaryIO:
    if isinstance(source, Path):
        return open_file(source)
    if not source:
        raise RefusedError("it is empty")
    return BytesIO(source)


def _opened(file: BinaryIO) -> ImageFile.ImageFile:
    if count_pieces(file) > MAX_PIECES:
        raise RefusedError(f"it is cut into more than {MAX_PIECES:,} strips or tiles")
    try:
        opened = Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise RefusedError(_too_many()) from None
    except (OSError, ValueError) as error:
        # Pillow's own message helps, unless it only says that it identified no image.
        helps = isinstance(error, ValueError) or error.errno is not None
        if (helps and not _is_ppm(file)) or "truncated" in str(error).lower():
            raise
        raise RefusedError(_format_error(file)) from None
    _require_bearable_size(opened)
    if opened.format == "PNG":
        verify_checksums(file)
    return opened


def _is_ppm(file: BinaryIO) -> bool:
    """Whether the file is a PPM, of which Pillow's messages do not even name the format."""
    file.seek(0)
    return file.read(2) in (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf")


def _format_error(file: BinaryIO) -> str:
    """Why a file cannot be opened, judging by its first bytes."""
    size = file.seek(0, SEEK_END)
    file.seek(0)
    start = file.read(12)
    kind = next((kind for sign, kind in _SIGNATURES if start.startswith(sign)), None)
    if _is_ppm(file):
        return "it is a PPM that is damaged or of an unknown kind"
    if start[4:8] == b"ftyp":
        return "it is a HEIC, AVIF or video file; convert it to PNG or JPEG"
    if kind is None or (kind == "WebP" and start[8:] != b"WEBP"):
        return "it is of no known image format"
    if kind == "WebP" and int.from_bytes(start[4:8], "little") + 8 > size:
        return "it is truncated"
    return f"it is a {kind} that is damaged or of an unknown kind"


def _require_bearable_size(opened: ImageFile.ImageFile) -> None:
    """Refuse images that would take too much memory, by their header."""
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise RefusedError(_too_many())
    if max(width, height) > MAX_SIDE:
        raise RefusedError(
            f"one of its sides has {max(width, height):,} pixels, more than {MAX_SIDE:,}"
        )
    if tile_pixels(getattr(opened, "tag_v2", {})) > MAX_PIXELS:
        raise RefusedError(f"it has tiles of more than {MAX_PIXELS:,} pixels")


def _too_many() -> str:
    return f"it has more than {MAX_PIXELS:,} pixels, which may be a decompression bomb"


def _reason(error: Exception) -> str:
    """An error of Pillow or the system as one line."""
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if "truncated" in text.lower():
        return "it is truncated"
    if "decompressed data too large" in text.lower() or "text chunks" in text:
        return "its text or colour profile would fill too much memory"
    text = printable(text)[:_LONGEST_REASON].rstrip(". ")
    return f"it is damaged: {text}" if text else f"it is damaged: {type(error).__name__}"


def _facts(opened: ImageFile.ImageFile) -> ImageFacts:
    tags = getattr(opened, "tag_v2", None)
    # Some versions of Pillow swap the size of a turned TIFF when they open it.
    width, height = opened.size if tags is None else stored_size(tags)
    if _orientation(opened) >= 5:
        width, height = height, width
    kind = "JPEG" if opened.format == "MPO" else opened.format or ""
    return ImageFacts(kind, opened.mode, height, width)


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata do not matter
        return 1
    return orientation if isinstance(orientation, int) and orientation in _TURNS else 1


def _eight_bit(opened: ImageFile.ImageFile, channels: Literal[1, 3]) -> Image.Image:
    """Decode the pixels, upright, as "L" or "RGB"."""
    if opened.mode == "F":
        raise RefusedError("its pixels are floating-point numbers of unknown range")
    if opened.mode == "I" and opened.format == "TIFF":
        raise RefusedError("its pixels are signed or 32-bit integers of unknown range")
    if opened.mode == "LAB":
        raise RefusedError("its pixels are in the colour space LAB")
    opened.load()
    image: Image.Image = opened
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips values above 255 to white.
        values = sixteen_bits(np.asarray(opened), getattr(opened, "tag_v2", {}))
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = _on_white(image)
    image = image.convert("L" if channels == 1 else "RGB")
    turn = _TURNS.get(_orientation(opened))
    return image if turn is None or opened.format == "TIFF" else image.transpose(turn)


def _on_white(image: Image.Image) -> Image.Image:
    """On a white ground, as viewers show it; colours of transparent pixels are arbitrary."""
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white
