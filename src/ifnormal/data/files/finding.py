"""Images in plain folders: a user's own data set, or the pictures to be explained."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ifnormal.common.errors import UserError, printable
from ifnormal.data.files.checking import OnBadImage, read_good_images
from ifnormal.data.sources.labelled import LabelledImages, Split

# What is read, and what users take for an image and would miss. Other files in a folder are no
# images to us.
READ = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
SUFFIXES = frozenset((*READ, ".heic", ".heif", ".avif", ".jp2", ".jxl", ".dng"))


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images, with one subfolder for each class, or all in one class.

    With subfolders `train/` or `test/` these are the splits; without either, the folder itself is
    both. Images are read in sorted order; files that are no images are passed over.

    Attributes:
        folder: the folder.
        size: (height, width) that every image is scaled to, the whole frame of it.
        channels: 1 reads every image as grey, 3 as RGB.
        on_bad: "error" stops at a damaged image, "skip" leaves it out and notes it in `skipped`.
    """

    folder: Path
    size: tuple[int, int]
    channels: Literal[1, 3] = 3
    on_bad: OnBadImage = "error"

    def read(self, split: Split) -> LabelledImages:
        """Read one split; labels index the sorted class names of both splits together.

        Raises:
            UserError: the folder or the split is missing or empty, images lie beside the class
                folders, or an image is damaged and that is an error.
        """
        root = Path(self.folder)
        found = [root / name for name in ("train", "test") if (root / name).is_dir()]
        if found and root / split not in found:
            raise UserError(f"{root} has {found[0].name}/ but no {split}/; add that folder.")
        per_split = {part.name: self._classes(part) for part in found or [root]}
        names = sorted(set().union(*per_split.values()))
        classes = per_split[split if found else root.name]
        paths = [path for name in sorted(classes) for path in classes[name]]
        labels = {
            path.as_posix(): names.index(name) for name, files in classes.items() for path in files
        }
        read = read_good_images(paths, (self.channels, *self.size), self.on_bad)
        known = torch.tensor([labels[name] for name in read.names], dtype=torch.int64)
        return LabelledImages(read.images, known, tuple(names), read.skipped)

    def _classes(self, part: Path) -> dict[str, list[Path]]:
        """Class name -> its images, both sorted."""
        images = _images_below(part)
        loose = [path for path in images if path.parent == part]
        if loose and len(loose) < len(images):
            raise UserError(
                f"{printable(str(loose[0]))} lies beside the class folders of {part}; "
                "move it into one of them."
            )
        if loose:
            return {Path(self.folder).resolve().name: loose}
        classes: dict[str, list[Path]] = {}
        for path in images:
            classes.setdefault(path.relative_to(part).parts[0], []).append(path)
        return classes


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Find image files: those given, and all below given folders.

    Below a folder, what has the suffix of an image counts as one, readable or not, and so does a
    folder that may not be listed; reading them tells what is wrong. Other suffixes and hidden
    files are passed over. Links to folders are followed, each folder is read once.

    Args:
        paths: files, taken whatever they are, and folders.

    Returns:
        Files in the order given, those of a folder sorted.

    Raises:
        UserError: a folder holds no images, or nothing is given.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files += _images_below(path) if _is_folder(path) else [path]
    if not files:
        raise UserError("There are no images to read; name at least one image file or folder.")
    return files


def read_images(
    paths: Iterable[Path], shape: tuple[int, int, int]
) -> tuple[Tensor, tuple[str, ...]]:
    """Read image files, and all images in folders and their subfolders, insisting on each.

    Args:
        paths: files, read whatever their suffix, and folders, in sorted order of their images.
        shape: (C, H, W) to bring every image to, C of 1 or 3.

    Returns:
        (N, C, H, W) uint8 images and their N paths as given.

    Raises:
        UserError: a path does not exist, a folder has no images, or an image is damaged.
    """
    read = read_good_images(find_images(paths), shape, on_bad="error")
    return read.images, read.names


def _images_below(folder: Path) -> list[Path]:
    """All images below a folder, sorted, hidden ones left out."""
    if not _is_folder(folder):
        raise UserError(f"{printable(str(folder))} is no folder; name a folder of images.")
    images: list[Path] = []
    seen: set[tuple[int, int]] = set()
    # Links wait until all real folders are done, so that an image keeps its own name.
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
    """Add the images below a folder that was not `seen`, and the links to other folders."""
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
    """Whether it is one, or leads to one; False for whatever cannot be asked."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False
