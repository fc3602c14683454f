"""Opening of regular files of limited size; anything else is refused with a reason."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from ifnormal.common.errors import UserError

# The largest image that is decoded, uncompressed, with 8 bytes a pixel.
MAX_BYTES = 2**29

_KINDS = {
    stat.S_IFIFO: "it is a pipe, not a file",
    stat.S_IFSOCK: "it is a socket, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
}
# O_NONBLOCK: opening a pipe must not wait for its writer.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class UnreadableImageError(UserError):
    """An image that cannot be read.

    Attributes:
        reason: why, as a clause of one line: "it is truncated".
    """

    def __init__(self, name: str, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"{name} cannot be read as an image ({reason}); restore it or leave it out."
        )


class RefusedError(Exception):
    """The reason why a file is refused, as a clause of one line. The caller adds the name."""


def open_file(path: Path) -> BinaryIO:
    """Open a regular file. Pipes are not waited for and devices are not read.

    Raises:
        RefusedError: the path is missing, no regular file, empty, too large or not permitted.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)  # opening a device may have effects
        if kind == stat.S_IFDIR:
            os.scandir(path).close()  # raises PermissionError where that is the reason
            raise RefusedError("it is a folder")
        if kind in _KINDS:
            raise RefusedError(_KINDS[kind])
        file = os.fdopen(os.open(path, _FLAGS), "rb")
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise RefusedError(_reason(path, error)) from None
    try:
        facts = os.fstat(file.fileno())  # the path may have changed in between
        if not stat.S_ISREG(facts.st_mode):
            raise RefusedError(_KINDS.get(stat.S_IFMT(facts.st_mode), "it is not a file"))
        if facts.st_size == 0:
            raise RefusedError("it is empty")
        if facts.st_size > MAX_BYTES:
            raise RefusedError(f"it is larger than {MAX_BYTES // 2**20} MiB")
    except BaseException:
        file.close()
        raise
    return file


def _reason(path: Path, error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return "no file can have this name"
    if error.errno == errno.ELOOP:
        return "it is a link that leads back to itself"
    if error.errno == errno.ENOENT and path.is_symlink():
        return "it is a link to something that does not exist"
    return error.strerror or type(error).__name__
