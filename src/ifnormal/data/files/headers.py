"""What Pillow does not check itself: the tags of a TIFF and the checksums of a PNG."""

from __future__ import annotations

import struct
import zlib
from io import SEEK_CUR
from typing import Any, BinaryIO

import numpy as np

from ifnormal.data.files.opening import RefusedError

# Numbers of TIFF tags.
_WIDTH, _LENGTH = 256, 257
_BITS, _PHOTOMETRIC = 258, 262
_STRIPS, _TILES = 273, 324
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_WHITE_IS_ZERO = 0

_PNG_SIGNATURE = 8  # bytes
_BLOCK = 2**20


def count_pieces(file: BinaryIO) -> int:
    """Number of strips or tiles of the first page; 0 if the file is no TIFF or is damaged."""
    file.seek(0)
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        return 0
    # Formats of the offset of the entries, their number and one entry; BigTIFF has wider ones.
    big = start[2:4] in (b"+\0", b"\0+")
    place, number, entry = ("8xQ", "Q", "HHQ8x") if big else ("4xI4x4x", "H", "HHI4x")
    pieces = 0
    try:
        file.seek(*struct.unpack(order + place, start))
        (entries,) = struct.unpack(order + number, file.read(struct.calcsize(order + number)))
        size = struct.calcsize(order + entry)
        for tag, _, count in struct.iter_unpack(
            order + entry, file.read(size * min(entries, 4096))
        ):
            if tag in (_STRIPS, _TILES):
                pieces = max(pieces, count)
    except (struct.error, OSError, ValueError, OverflowError):
        return 0
    return pieces


def stored_size(tags: Any) -> tuple[int, int]:
    """(width, height) as stored, before the image is turned upright."""
    return int(tags[_WIDTH]), int(tags[_LENGTH])


def tile_pixels(tags: Any) -> int:
    """Pixels of one tile, 0 without tiles. A tile is decoded whole, however small the image is."""
    width, length = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0)
    return width * length if isinstance(width, int) and isinstance(length, int) else 0


def sixteen_bits(values: np.ndarray[Any, Any], tags: Any) -> np.ndarray[Any, Any]:
    """Convert grey values of more than 8 bits to 0..65535, where 0 is black.

    Pillow does not scale 12-bit values, and where white is zero it inverts 8 bits but not 16.
    """
    values = values.clip(0, 65535)
    if tags.get(_BITS) == (12,):
        values = values << 4
    return 65535 - values if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else values


def verify_checksums(file: BinaryIO) -> None:
    """Verify the checksums of the pixels of a PNG. The position in the file does not change.

    Raises:
        RefusedError: the pixels are damaged or cut off.
    """
    before = file.tell()
    file.seek(_PNG_SIGNATURE)
    while len(head := file.read(8)) == 8:
        left, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind == b"IEND":
            break
        if kind != b"IDAT":
            file.seek(left + 4, SEEK_CUR)
            continue
        checksum = zlib.crc32(kind)
        while left and (block := file.read(min(left, _BLOCK))):
            checksum, left = zlib.crc32(block, checksum), left - len(block)
        stored = file.read(4)
        if len(stored) < 4:
            raise RefusedError("it is truncated")
        if checksum != int.from_bytes(stored, "big"):
            raise RefusedError("it is damaged: its pixels do not match their checksum")
    file.seek(before)
