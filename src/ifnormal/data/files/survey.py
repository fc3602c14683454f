"""Statistics of image files: formats, sizes, unreadable files and duplicates."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifnormal.data.files.decoding import decode_with_facts
from ifnormal.data.files.opening import UnreadableImageError, open_file
from ifnormal.data.files.reading import BadImage

SCHEMA_VERSION = 1

_BLOCK = 2**20
# Factors of the two sides that differ by less are not visible as stretching.
_STRETCHED = 1.1


@dataclass(frozen=True)
class Survey:
    """Statistics of a list of image files.

    Attributes:
        good: number of readable files.
        bad: unreadable files with the reason, in order.
        formats: number of readable files of each format.
        modes: number of readable files of each of Pillow's pixel modes.
        sizes: number of readable files of each upright (height, width).
        same: groups of paths with identical content.
    """

    good: int
    bad: tuple[BadImage, ...]
    formats: Mapping[str, int]
    modes: Mapping[str, int]
    sizes: Mapping[tuple[int, int], int]
    same: tuple[tuple[str, ...], ...]

    def scaling(self, size: tuple[int, int]) -> dict[str, int]:
        """How many images are kept, enlarged or reduced when scaled to (height, width).

        Those whose sides get clearly different factors are also counted as stretched.
        """
        counts = {"kept": 0, "reduced": 0, "enlarged": 0, "stretched": 0}
        for (height, width), images in self.sizes.items():
            factors = sorted((size[0] / height, size[1] / width))
            if factors[0] == factors[1] == 1:
                counts["kept"] += images
            else:
                counts["enlarged" if factors[1] > 1 else "reduced"] += images
            if factors[1] > _STRETCHED * factors[0]:
                counts["stretched"] += images
        return counts

    def to_json(self, size: tuple[int, int] | None = None) -> dict[str, Any]:
        """The statistics as JSON-compatible values, with the scaling to `size` if one is given."""
        return {
            "format": "ifnormal.data-check",
            "schema_version": SCHEMA_VERSION,
            "files": self.good + len(self.bad),
            "good": self.good,
            "bad": [{"path": bad.path, "reason": bad.reason} for bad in self.bad],
            "formats": dict(self.formats),
            "modes": dict(self.modes),
            "sizes": [
                {"height": height, "width": width, "images": images}
                for (height, width), images in self.sizes.items()
            ],
            "same": [list(group) for group in self.same],
            "scaling": None if size is None else {"to": list(size), **self.scaling(size)},
        }


def survey(files: Sequence[Path], report: Callable[[int, int], None] | None = None) -> Survey:
    """Decode every file, one at a time, and collect the statistics.

    Args:
        files: as `find_images` finds them.
        report: called after each file with the numbers of files done and of unreadable ones.
    """
    bad: list[BadImage] = []
    formats, modes = Counter[str](), Counter[str]()
    sizes = Counter[tuple[int, int]]()
    first: dict[bytes, int] = {}
    same: dict[int, list[str]] = {}
    for number, path in enumerate(files):
        try:
            _, facts = decode_with_facts(path, 3, str(path))
            digest = _digest(path)
        except (UnreadableImageError, OSError) as error:
            reason = getattr(error, "reason", None) or "it changed while it was read"
            bad.append(BadImage(path.as_posix(), reason))
        else:
            formats[facts.format] += 1
            modes[facts.mode] += 1
            sizes[facts.height, facts.width] += 1
            if (known := first.setdefault(digest, number)) != number:
                same.setdefault(known, [files[known].as_posix()]).append(path.as_posix())
        if report is not None:
            report(number + 1, len(bad))
    return Survey(
        sizes.total(),
        tuple(bad),
        dict(formats.most_common()),
        dict(modes.most_common()),
        dict(sizes.most_common()),
        tuple(map(tuple, same.values())),
    )


def _digest(path: Path) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    with open_file(path) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.digest()
