"""The image files below a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ifnormal.common.errors import UserError, printable

# Files with other suffixes are not images. Those of SUFFIXES that cannot be read are reported.
READ = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
SUFFIXES = frozenset((*READ, ".heic", ".heif", ".avif", ".jp2", ".jxl", ".dng"))


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Find image files: those given, and all below given folders.

    Below a folder, every file with the suffix of an image counts, readable or not. So does a
    folder without permission to list it, so that reading reports it. Hidden files are left out.
    Links to folders are followed; each folder is searched once.

    Args:
        paths: files of any kind, and folders.

    Returns:
        Files in the given order; those of a folder are sorted.

    Raises:
        UserError: a folder holds no images, or `paths` is empty.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files += _images_below(path) if _is_folder(path) else [path]
    if not files:
        raise UserError("There are no images to read; name at least one image file or folder.")
    return files


def _images_below(folder: Path) -> list[Path]:
    """All images below a folder, sorted, without hidden ones."""
    images: list[Path] = []
    seen: set[tuple[int, int]] = set()
    # Links are followed last, so that an image is found under its real path first.
    waiting = [folder]
    while waiting:
        links: list[Path] = []
        for place in waiting:
            _collect(place, images, links, seen)
        waiting = sorted(links)
    if not images:
        raise UserError(
            f"{printable(str(folder))} holds no images ({', '.join(READ)}); "
            "name a folder that does."
        )
    return sorted(images)


def _collect(top: Path, images: list[Path], links: list[Path], seen: set[tuple[int, int]]) -> None:
    """Append the images below a folder that is not in `seen`, and links to other folders."""
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            facts = folder.stat()
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            with os.scandir(folder) as entries:
                found = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError:
            images.append(folder)
            continue
        for entry in found:
            path = folder / entry.name
            if _is_folder(path):
                (links if entry.is_symlink() else folders).append(path)
            elif path.suffix.lower() in SUFFIXES:
                images.append(path)


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder or a link to one; False if the system raises an error."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False
