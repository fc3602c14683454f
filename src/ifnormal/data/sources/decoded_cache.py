"""Cache of decoded images on disk, so that large sets are decoded once and not in every run.

It is one `.npy` a set in `$IFNORMAL_CACHE`, or `~/.cache/ifnormal`, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ifnormal.common.storage import open_atomic
from ifnormal.data.files.decoding import Array
from ifnormal.data.sources.labelled import LazyImages

VARIABLE = "IFNORMAL_CACHE"
# Fewer images are decoded in a second or two. Larger sets would fill the disk.
LEAST_IMAGES = 5000
_MOST_BYTES = 2**30
_VERSION = 1


def cache_folder() -> Path:
    """The folder of the cache."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".cache" / "ifnormal"


def cached(lazy: LazyImages) -> LazyImages:
    """The same images, which are all decoded at the first use and read from the cache later.

    Small and very large sets are not cached. A set whose files have changed is decoded again. If
    the cache cannot be written, images are decoded every time.
    """
    if len(lazy) < LEAST_IMAGES:
        return lazy

    def decode(chosen: Sequence[int]) -> Array:
        path = cache_folder() / f"{_key(lazy)}.npy"
        if (kept := _kept(path, len(lazy))) is not None:
            return np.ascontiguousarray(kept[list(chosen)])
        first = lazy.decode([0])
        if len(lazy) * first.nbytes > _MOST_BYTES:
            return lazy.decode(chosen)
        everything = lazy.decode(range(len(lazy)))
        _keep(path, everything)
        return np.ascontiguousarray(everything[list(chosen)])

    return replace(lazy, decode=decode)


def _key(lazy: LazyImages) -> str:
    """A hash of all that determines the pixels: names, sizes and times of files, and `reading`."""
    digest = hashlib.sha256(f"{_VERSION} {lazy.reading} {len(lazy)}".encode())
    for path in lazy.files:
        facts = path.stat()
        digest.update(f"{path.absolute()}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]


def _kept(path: Path, count: int) -> Array | None:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    sound = array.dtype == np.uint8 and array.ndim == 4 and len(array) == count
    return array if sound else None


def _keep(path: Path, array: Array) -> None:
    try:
        with open_atomic(path, durable=False) as file:
            np.save(file, array, allow_pickle=False)
    except OSError:
        return  # a full disk or no permission; the images are decoded already
