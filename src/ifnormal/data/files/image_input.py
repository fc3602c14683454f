"""Image inputs of the Python API: paths, arrays, tensors or Pillow images, as one uint8 tensor."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.pixels import quantize
from ifnormal.data.files.decoding import decode, decode_with_facts
from ifnormal.data.files.finding import find_images
from ifnormal.data.files.opening import UnreadableImageError
from ifnormal.data.files.reading import read_good_images

Shape: TypeAlias = tuple[int, int, int]
ImageInput: TypeAlias = (
    "Tensor | np.ndarray[Any, Any] | str | Path | Image.Image | Sequence[str | Path | Image.Image]"
)

_LARGEST = 128
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B")
_KINDS = (
    "a folder or a list of image files, uint8 or [0, 1] float arrays (N, H, W, C) or tensors "
    "(N, C, H, W), or Pillow images"
)


def as_images(images: ImageInput, shape: Shape | None) -> tuple[Tensor, tuple[str, ...]]:
    """Convert images to (N, C, H, W) uint8.

    Files and Pillow images are scaled to `shape`. Arrays and tensors keep their size.

    Args:
        images: paths of files and folders, one or many; Pillow images; a tensor (N, C, H, W) or an
            array (N, H, W, C) or (N, H, W), uint8 or float in [0, 1].
        shape: (C, H, W) of the result; None takes that of the arrays or of the first file.

    Returns:
        The images and their N names: paths, or numbers.

    Raises:
        UserError: the input is none of these, has another shape, or values out of range.
    """
    if isinstance(images, Tensor | np.ndarray):
        converted = _from_tensor(images) if isinstance(images, Tensor) else _from_array(images)
        if shape is not None and len(converted) and tuple(converted.shape[1:]) != tuple(shape):
            raise UserError(
                f"Images of {'x'.join(map(str, shape))} (channels, height, width) are needed, "
                f"these are {'x'.join(map(str, converted.shape[1:]))}; resize or convert them."
            )
        return converted, tuple(map(str, range(len(converted))))
    items = [images] if isinstance(images, str | Path | Image.Image) else list(images)
    if not items:
        raise UserError("There are no images; give at least one.")
    if all(isinstance(item, str | Path) for item in items):
        paths = [Path(cast("str | Path", item)) for item in items]
        return _from_files(paths, shape or default_shape(paths))
    if all(isinstance(item, Image.Image) for item in items):
        pictures = cast("list[Image.Image]", items)
        shape = shape or default_shape(pictures)
        arrays = [_from_pil(picture, number, shape) for number, picture in enumerate(pictures)]
        return torch.from_numpy(np.stack(arrays)), tuple(map(str, range(len(pictures))))
    if all(isinstance(item, Tensor | np.ndarray) for item in items):
        singles = [as_images(item[None], None)[0] for item in cast("list[Any]", items)]
        if len({tuple(image.shape) for image in singles}) > 1:
            raise UserError("The images differ in size; resize them, or give files.")
        return as_images(torch.cat(singles), shape)
    raise UserError(f"Images can be {_KINDS}, not {type(items[0]).__name__}; convert them.")


def _from_files(paths: list[Path], shape: Shape) -> tuple[Tensor, tuple[str, ...]]:
    """Read files; unreadable ones are left out with a warning."""
    read = read_good_images(find_images(paths), shape)
    if not len(read):
        bad = read.skipped[0]
        raise UserError(
            f"None of the {len(read.skipped)} files can be read ({bad.path}: {bad.reason}); name "
            "others."
        )
    if read.skipped:
        bad, more = read.skipped[0], len(read.skipped) - 1
        others = f", and {more} other files with it" if more else ""
        warnings.warn(f"{bad.path} ({bad.reason}) is left out{others}.", stacklevel=4)
    return read.images, read.names


def default_shape(
    images: ImageInput, takes: tuple[int | None, int | None, int | None] = (None, None, None)
) -> Shape:
    """The default (C, H, W) at which images are edited.

    Arrays and tensors keep their shape. Files and Pillow images get the size of the first one, or
    the size that the detector `takes` if that is smaller, but at most 128 pixels a side, because
    training time grows with the number of pixels. The generator needs multiples of 4.
    """
    channels, height, width = natural_shape(images)
    if isinstance(images, Tensor | np.ndarray):
        return channels, height, width
    sides = [
        min(side, other or side) for side, other in zip((height, width), takes[1:], strict=True)
    ]
    scale = min(1.0, _LARGEST / max(sides))
    high, wide = (max(4, round(side * scale / 4) * 4) for side in sides)
    return (1 if takes[0] == 1 else channels), high, wide


def natural_shape(images: ImageInput) -> Shape:
    """(C, H, W) of the first readable image, upright and not scaled."""
    if isinstance(images, Tensor | np.ndarray):
        channels, height, width = as_images(images[:1], None)[0].shape[1:]
        return channels, height, width
    first = images if isinstance(images, str | Path | Image.Image) else next(iter(images), None)
    if isinstance(first, Image.Image):
        return (1 if first.mode in _GREY else 3), first.height, first.width
    if isinstance(first, str | Path):
        items = [images] if isinstance(images, str | Path) else cast("Sequence[Any]", images)
        for path in find_images(Path(item) for item in items if isinstance(item, str | Path)):
            with suppress(UnreadableImageError):
                _, facts = decode_with_facts(path, 1, str(path))
                return (1 if facts.mode in _GREY else 3), facts.height, facts.width
        raise UserError(f"{first} holds no image that can be read; name a folder that does.")
    if first is None:
        raise UserError("There are no images; give at least one.")
    return natural_shape(as_images([first], None)[0])


def _from_tensor(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise UserError(
            f"A tensor of images is (N, 1 or 3, H, W), this one is {tuple(images.shape)}; "
            "reorder its axes."
        )
    if images.dtype == torch.uint8:
        return images.cpu()
    if not images.is_floating_point():
        raise UserError(f"Images are uint8, or floats in [0, 1], not {images.dtype}; convert them.")
    low, high = (float(images.min()), float(images.max())) if images.numel() else (0.0, 1.0)
    if not (low >= 0 and high <= 1):  # also where they are NaN
        raise UserError(
            f"Float images lie in [0, 1], these in [{low:.3g}, {high:.3g}]; rescale them, and undo "
            "a mean and deviation: these belong to the detector's preprocessing."
        )
    return quantize(images).cpu()


def _from_array(images: np.ndarray[Any, Any]) -> Tensor:
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UserError(
            f"An array of images is (N, H, W) or (N, H, W, 1 or 3), this one is {images.shape}; "
            "reorder its axes."
        )
    if images.dtype == bool or images.dtype.kind not in "uf" or images.dtype.itemsize > 8:
        raise UserError(f"Images are uint8, or floats in [0, 1], not {images.dtype}; convert them.")
    if images.dtype.kind == "u" and images.dtype != np.uint8:
        raise UserError(f"Images are uint8, or floats in [0, 1], not {images.dtype}; convert them.")
    return _from_tensor(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))


def _from_pil(picture: Image.Image, number: int, shape: Shape) -> np.ndarray[Any, Any]:
    buffer = BytesIO()
    picture.save(buffer, format="TIFF")  # a format for every mode, decoded like any file
    return decode(buffer.getvalue(), 1 if shape[0] == 1 else 3, f"image {number}", shape[1:])
