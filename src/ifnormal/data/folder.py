"""Images in plain folders: a user's own data set, or the pictures to be explained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ifnormal.data.images import LabelledImages, Split
from ifnormal.data.reading import decode
from ifnormal.errors import UserError

# The formats every build of Pillow reads; other files in a folder are no images to us.
SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
)


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images, with one subfolder for each class, or all in one class.

    With subfolders `train/` or `test/` these are the splits; without either, the folder itself is
    both. Images are read in sorted order; files that are no images are passed over.

    Attributes:
        folder: the folder.
        size: (height, width) that every image is scaled to, the whole frame of it.
        channels: 1 reads every image as grey, 3 as RGB.
    """

    folder: Path
    size: tuple[int, int]
    channels: Literal[1, 3] = 3

    def read(self, split: Split) -> LabelledImages:
        """Read one split; labels index the sorted class names of both splits together.

        Raises:
            UserError: the folder or the split is missing or empty, images lie beside the class
                folders, or an image is damaged.
        """
        root = Path(self.folder)
        found = [root / name for name in ("train", "test") if (root / name).is_dir()]
        if found and root / split not in found:
            raise UserError(f"{root} has {found[0].name}/ but no {split}/; add that folder.")
        per_split = {part.name: self._classes(part) for part in found or [root]}
        names = sorted(set().union(*per_split.values()))
        classes = per_split[split if found else root.name]
        paths = [path for name in sorted(classes) for path in classes[name]]
        labels = [names.index(name) for name in sorted(classes) for _ in classes[name]]
        images = _read(paths, self.size, self.channels)
        return LabelledImages(images, torch.tensor(labels), tuple(names))

    def _classes(self, part: Path) -> dict[str, list[Path]]:
        """Class name -> its images, both sorted."""
        images = _images_below(part)
        loose = [path for path in images if path.parent == part]
        if loose and len(loose) < len(images):
            raise UserError(
                f"{loose[0]} lies beside the class folders of {part}; move it into one of them."
            )
        if loose:
            return {Path(self.folder).resolve().name: loose}
        classes: dict[str, list[Path]] = {}
        for path in images:
            classes.setdefault(path.relative_to(part).parts[0], []).append(path)
        return classes


def read_images(
    paths: Iterable[Path], shape: tuple[int, int, int]
) -> tuple[Tensor, tuple[str, ...]]:
    """Read image files, and all images in folders and their subfolders.

    Args:
        paths: files, read whatever their suffix, and folders, in sorted order of their images.
        shape: (C, H, W) to bring every image to, C of 1 or 3.

    Returns:
        (N, C, H, W) uint8 images and their N paths as given.

    Raises:
        UserError: a path does not exist, a folder has no images, or an image is damaged.
    """
    if shape[0] not in (1, 3):
        raise UserError(
            f"Image files have 1 or 3 channels, but {shape[0]} are needed; "
            "use a detector of grey or RGB images."
        )
    files = []
    for path in map(Path, paths):
        files += _images_below(path) if path.is_dir() else [path]
    if not files:
        raise UserError("There are no images to read; name at least one image file or folder.")
    images = _read(files, shape[1:], 1 if shape[0] == 1 else 3)
    return images, tuple(file.as_posix() for file in files)


def _images_below(folder: Path) -> list[Path]:
    """Find all images below a folder, hidden ones left out."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name a folder of images.")
    images = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not images:
        raise UserError(
            f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}); name a folder that does."
        )
    return images


def _read(paths: list[Path], size: tuple[int, int], channels: Literal[1, 3]) -> Tensor:
    arrays = [decode(path, channels, str(path), size) for path in paths]
    return torch.from_numpy(np.stack(arrays))
