"""Reading of many image files: the images, and why the others cannot be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.data.files.decoding import decode
from ifnormal.data.files.finding import find_images
from ifnormal.data.files.opening import UnreadableImageError

OnBadImage = Literal["skip", "error"]


@dataclass(frozen=True)
class BadImage:
    """A file that cannot be read as an image.

    Attributes:
        path: as given, with forward slashes.
        reason: why, as a clause of one line: "it is truncated".
    """

    path: str
    reason: str


@dataclass(frozen=True)
class ReadImages:
    """The readable images of a list of files, and the unreadable files.

    Attributes:
        images: (N, C, H, W) uint8.
        names: N paths as given, with forward slashes.
        skipped: the unreadable files, in order.
    """

    images: Tensor
    names: tuple[str, ...]
    skipped: tuple[BadImage, ...]

    def __len__(self) -> int:
        return len(self.names)


def read_good_images(
    paths: Sequence[Path], shape: tuple[int, int, int], on_bad: OnBadImage = "skip"
) -> ReadImages:
    """Read image files and skip or refuse those that cannot be read.

    Args:
        paths: files, as `find_images` finds them.
        shape: (C, H, W) to convert every image to, C of 1 or 3.
        on_bad: "skip" records an unreadable file and goes on, "error" raises.

    Returns:
        The readable images in order, possibly none, and the unreadable files.

    Raises:
        UnreadableImageError: a file cannot be read and `on_bad` is "error".
        UserError: C is neither 1 nor 3.
    """
    channels = shape[0]
    if channels not in (1, 3):
        raise UserError(
            f"Image files have 1 or 3 channels, but {channels} are needed; "
            "use a detector of grey or RGB images."
        )
    images = torch.empty((len(paths), *shape), dtype=torch.uint8)
    names: list[str] = []
    skipped: list[BadImage] = []
    for path in map(Path, paths):
        try:
            array = decode(path, 1 if channels == 1 else 3, str(path), shape[1:])
        except UnreadableImageError as error:
            if on_bad == "error":
                raise
            skipped.append(BadImage(path.as_posix(), error.reason))
            continue
        images[len(names)] = torch.from_numpy(array)
        names.append(path.as_posix())
    good = images if not skipped else images[: len(names)].clone()
    return ReadImages(good, tuple(names), tuple(skipped))


def read_images(
    paths: Iterable[Path], shape: tuple[int, int, int]
) -> tuple[Tensor, tuple[str, ...]]:
    """Read image files and all images below folders; every one of them must be readable.

    Args:
        paths: files of any suffix, and folders, whose images are read in sorted order.
        shape: (C, H, W) to convert every image to, C of 1 or 3.

    Returns:
        (N, C, H, W) uint8 images and their N paths as given.

    Raises:
        UserError: a path does not exist, a folder has no images, or an image is damaged.
    """
    read = read_good_images(find_images(paths), shape, on_bad="error")
    return read.images, read.names
