"""Uploads: any file is read as an image or refused, and does not stay on disk."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.data.files.decoding import decode

LARGEST_UPLOAD = 32 * 2**20


def take_contents(path: str | None, uploads: Path) -> bytes:
    """Read the bytes of an upload and remove the file.

    Raises:
        UserError: there is no file, it is too large, or it is not in the folder of uploads.
    """
    if path is None or not Path(path).resolve().is_relative_to(uploads.resolve()):
        raise UserError("There is no file; drop an image in.")
    file = Path(path)
    try:
        if file.stat().st_size > LARGEST_UPLOAD:
            raise UserError(
                f"The file is larger than {LARGEST_UPLOAD // 2**20} MB; drop a smaller image in."
            )
        return file.read_bytes()
    finally:
        file.unlink(missing_ok=True)


def read_upload(content: bytes, shape: tuple[int, int, int]) -> Tensor:
    """Decode a file into the (C, H, W) uint8 image that the detector takes.

    Raises:
        UserError: the file is no image, is damaged or has far too many pixels, or the detector
            takes neither grey nor colour images.
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise UserError(
            f"Image files have 1 or 3 channels, but the detector takes {channels}; "
            "use a detector of grey or RGB images."
        )
    return torch.from_numpy(
        decode(content, 1 if channels == 1 else 3, "The file", (height, width)).copy()
    )
