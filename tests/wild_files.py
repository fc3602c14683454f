"""Makers of odd image files, by Pillow where it can and by hand where it would refuse."""

from __future__ import annotations

import os
import socket
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RGB = tuple[int, int, int]
RED: RGB = (200, 30, 60)


def picture(mode: str = "RGB", size: tuple[int, int] = (6, 4), color: Any = RED) -> Image.Image:
    """A plain image, (width, height) as in Pillow."""
    return Image.new(mode, size, color)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG, with its checksum."""
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(
    width: int, height: int, depth: int, color: int, rows: bytes, *before: bytes, after: bytes = b""
) -> bytes:
    """A PNG by hand; `rows` are not compressed yet and begin with a filter byte each."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + pixels + after + chunk(b"IEND", b"")


def tiff(tags: dict[int, tuple[str, list[int]]], pixels: bytes, order: str = "<") -> bytes:
    """A TIFF by hand: tag -> (struct's letter for its type, values); offsets are filled in.

    Where tag 273 or 324 (strips, tiles) is 0, it becomes the place of `pixels`.
    """
    numbers = {"B": 1, "H": 3, "I": 4}
    where = 8 + 2 + 12 * len(tags) + 4
    extra = b""
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(content) > 4:
            offset = struct.pack(f"{order}I", where + len(pixels) + len(extra))
            extra, content = extra + content, offset
        elif tag in (273, 324) and values == [0]:
            content = struct.pack(f"{order}I", where)
        entries += struct.pack(f"{order}HHI", tag, numbers[kind], len(values)) + content.ljust(
            4, b"\0"
        )
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return head + entries + b"\0\0\0\0" + pixels + extra


def grey_tiff(
    pixels: bytes,
    bits: int,
    photometric: int = 1,
    sample_format: int = 1,
    size: tuple[int, int] = (6, 4),
    compression: int = 1,
    order: str = "<",
    **more: int,
) -> bytes:
    """A TIFF of one channel, with what Pillow does not write; `t322=5` sets tag 322 to 5."""
    tags = {
        256: ("I", [size[0]]),
        257: ("I", [size[1]]),
        258: ("H", [bits]),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        273: ("I", [0]),
        277: ("H", [1]),
        278: ("I", [size[1]]),
        279: ("I", [len(pixels)]),
        339: ("H", [sample_format]),
    }
    tags |= {int(name[1:]): ("I", [value]) for name, value in more.items()}
    if 324 in tags:
        tags = {tag: value for tag, value in tags.items() if tag not in (273, 278, 279)}
    return tiff(tags, pixels, order)


def tagged(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def turned(orientation: int) -> Image.Image:
    """An image that is 6 wide, 4 high and RED in its top left quarter, stored as a camera does."""
    upright = np.zeros((8 * 4, 8 * 6, 3), np.uint8)
    upright[:16, :24] = RED
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(upright)
    return image.transpose(undo[orientation]) if orientation in undo else image


def with_exif(jpeg: bytes, content: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def frames(kind: str, **options: Any) -> bytes:
    others = [picture(color=(0, 0, 255)), picture(color=(0, 255, 0))]
    return encoded(picture(), kind, save_all=True, append_images=others, **options)


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """A GIF that lies about its sizes, with hardly a pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\x00;"


def crumbs(head: str, entry: str) -> bytes:
    """A TIFF of one pixel that claims to be cut into a million tiles; no tag but that."""
    order = head[0]
    start = b"II" if order == "<" else b"MM"
    numbers = (43, 8, 0, 16, 1) if "Q" in head else (42, 8, 1)
    tag = struct.pack(entry, 324, 4, 10**6, 99)
    return start + struct.pack(order + head[2:], *numbers) + tag + bytes(4 * 10**6)


def huge_webp() -> bytes:
    """An animation on a canvas of 16384 x 16384, of one small frame."""
    content = frames("WEBP", lossless=True)
    at = content.index(b"VP8X") + 12
    return content[:at] + 2 * (16383).to_bytes(3, "little") + content[at + 6 :]


def packed_zeros(count: int) -> bytes:
    """What `zlib.compress(bytes(count))` unpacks to, for whole MiB, made in no time."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = (count % 65521) << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + block * (count // 2**20) + packer.flush() + struct.pack(">I", checksum)


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def noise(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def make_socket(path: Path) -> None:
    # By a relative name: that of a socket may not be longer than about 100 bytes.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def link_to(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def beside(path: Path) -> None:
    """A link to a good image, which is hidden."""
    (path.parent / ".real").write_bytes(encoded(picture()))
    path.symlink_to(".real")


def sparse(start: bytes, size: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.write(start)
            file.truncate(size)

    return make
