"""Checksums of a PNG's pixels, which Pillow passes over."""

from __future__ import annotations

import zlib
from io import SEEK_CUR
from typing import BinaryIO

from ifnormal.data.opening import RefusedError

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
