"""Files that are either whole or absent: atomic writes, safetensors and JSON with a checksum."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

from ifnormal.common.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# What `open_atomic` leaves behind when the machine dies under it; the group is the whole file.
HALF_WRITTEN = re.compile(r"\.(.+)\.[0-9a-f]{16}")


def write_atomic(path: Path, content: bytes | str, durable: bool = True) -> Path:
    """Write `content` to `path` so that a reader, or a crash, never meets half a file.

    The bytes go to a temporary file in the same folder, are forced to disk (unless not `durable`,
    for thousands of files that can be made again) and renamed into place.
    """
    with open_atomic(path, durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


@contextmanager
def open_atomic(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """A new file to write piece by piece; takes the place of `path` when all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, Any]) -> Path:
    """Write a JSON object, indented, atomically; paths become strings.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a value is something JSON has no form for, such as a tensor.
    """
    return write_atomic(path, json.dumps(value, indent=2, allow_nan=False, default=plain) + "\n")


def plain(value: object) -> str:
    """What JSON writes for a path; anything else it has no form for is a mistake of ours."""
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r} has no JSON form; convert it first.")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: the file is missing or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; name a folder that ifnormal wrote.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); write it again.") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object; name a folder that ifnormal wrote.")
    return value


def save_tensors(
    folder: Path, name: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Write `<name>.safetensors` and `<name>.json`: the tensors, and facts with their checksum.

    The weights carry their digest in their name while the JSON names them, so the JSON's rename is
    the commit: after a crash at any moment the folder holds the old pair or the new one.
    """
    from safetensors.torch import save

    # clone: safetensors refuses tensors that share memory, such as tied weights
    packed = save(
        {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    )
    digest = hashlib.sha256(packed).hexdigest()
    weights = f"{name}-{digest[:12]}.safetensors"
    write_atomic(folder / weights, packed)
    write_json(folder / f"{name}.json", {**facts, "weights": weights, "sha256": digest})
    for stale in folder.glob(f"{name}-{'[0-9a-f]' * 12}.safetensors"):
        if stale.name != weights:
            stale.unlink(missing_ok=True)
    ours = re.compile(rf"{re.escape(name)}(\.json|-[0-9a-f]{{12}}\.safetensors)")
    for path in folder.glob(f".{name}*"):  # of a process that was killed while it wrote
        half = HALF_WRITTEN.fullmatch(path.name)
        if half and ours.fullmatch(half[1]):
            path.unlink(missing_ok=True)


def load_tensors(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote: the tensors and the facts.

    Raises:
        UserError: a file is missing, or its bytes are not the ones that were written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    facts = read_json(folder / f"{name}.json")
    weights, digest = facts.pop("weights", None), facts.pop("sha256", None)
    if not isinstance(weights, str) or Path(weights).name != weights:
        raise UserError(f"{folder / name}.json names no weights file; write the folder again.")
    path = folder / weights
    try:
        packed = path.read_bytes()
    except (OSError, ValueError):  # ValueError: a name no file can have
        raise UserError(f"{path} is missing or unreadable; write the folder again.") from None
    if hashlib.sha256(packed).hexdigest() != digest:
        raise UserError(f"{path} is damaged (its checksum differs); restore or write it again.")
    try:
        return load(packed), facts
    except SafetensorError as error:
        raise UserError(f"{path} holds no tensors ({error}); write the folder again.") from None
