"""What the header of a TIFF says, where Pillow takes its word for it or stops half-way."""

from __future__ import annotations

import struct
import zlib
from io import SEEK_CUR
from typing import Any, BinaryIO

import numpy as np

from ifnormal.data.files.opening import RefusedError

_WIDTH, _LENGTH = 256, 257
_BITS, _PHOTOMETRIC = 258, 262
_STRIPS, _TILES = 273, 324
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_WHITE_IS_ZERO = 0


def count_pieces(file: BinaryIO) -> int:
    """How many strips or tiles the first page is cut into; 0 if it is no TIFF or damaged."""
    file.seek(0)
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        return 0
    # BigTIFF has wider numbers: where the entries begin, how many, and what is in each.
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
    """(width, height) of the pixels as stored, before they are turned upright."""
    return int(tags[_WIDTH]), int(tags[_LENGTH])


def tile_pixels(tags: Any) -> int:
    """Pixels of a tile, all of which are decoded however small the image; 0 without tiles."""
    width, length = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0)
    return width * length if isinstance(width, int) and isinstance(length, int) else 0


def sixteen_bits(values: np.ndarray[Any, Any], tags: Any) -> np.ndarray[Any, Any]:
    """Bring grey values of more than 8 bits to 0..65535, where 0 is black.

    Pillow leaves those of 12 bits in 0..4095, and inverts 8 bits but not 16 where white is zero.
    """
    values = values.clip(0, 65535)
    if tags.get(_BITS) == (12,):
        values = values << 4
    return 65535 - values if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else values


_BLOCK = 2**20
_HEADER = 8


def require_sound(file: BinaryIO) -> None:
    """Compare the pixels of a PNG with their checksums, as every other reader does.

    The place in the file is kept.

    Raises:
        RefusedError: they are damaged or cut off.
    """
    before = file.tell()
    file.seek(_HEADER)
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
