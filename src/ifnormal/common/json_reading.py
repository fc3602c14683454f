"""JSON read piece by piece, in bounded memory, and values checked to be of the expected kind."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeGuard

from ifnormal.common.errors import UserError, one_line


def json_events(path: Path, streamed: Sequence[str] = ()) -> Iterator[tuple[str, int | None, Any]]:
    """What an object says, in its order: (key, None, value); the `streamed` lists entry by entry.

    These give (key, -1, None) and then (key, 0, value), (key, 1, value), ...

    Raises:
        UserError: the file is missing or no JSON object.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yield from _Stream(file, streamed).events()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; name a folder that ifnormal wrote.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read as JSON ({one_line(error)}); write it again."
        ) from None


class _Stream:
    """A JSON object that is read piece by piece, however it is laid out."""

    def __init__(self, file: TextIO, streamed: Sequence[str]) -> None:
        self._file, self._text, self._at = file, "", 0
        self._streamed = streamed
        self._decoder = json.JSONDecoder(parse_constant=_no_constant)

    def events(self) -> Iterator[tuple[str, int | None, Any]]:
        self._expect("{")
        seen: set[str] = set()
        while self._peek() != "}":
            if seen:
                self._expect(",")
            key = self._value()
            if not isinstance(key, str) or key in seen:
                raise ValueError(f"{key!r} is no key, or there twice")
            seen.add(key)
            self._expect(":")
            if key in self._streamed and self._peek() == "[":
                yield key, -1, None
                for number, value in enumerate(self._elements()):
                    yield key, number, value
            else:
                yield key, None, self._value()
        self._expect("}")
        if self._peek():
            raise ValueError("something follows its end")

    def _elements(self) -> Iterator[Any]:
        self._expect("[")
        first = True
        while self._peek() != "]":
            if not first:
                self._expect(",")
            first = False
            yield self._value()
        self._expect("]")

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._more():
                    raise
                continue
            # A number that ends with the text may go on in the next piece.
            if end < len(self._text) or not self._more():
                self._at = end
                return value

    def _peek(self) -> str:
        """The next character that is no white space, "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\n\r":
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def _expect(self, character: str) -> None:
        found = self._peek()
        if found != character:
            raise ValueError(f"there is {found or 'the end'!r} where {character!r} should be")
        self._at += 1

    def _more(self) -> bool:
        """Read on, ever larger pieces while one value is unfinished; False at the end."""
        rest = self._text[self._at :]
        piece = self._file.read(max(1 << 16, len(rest)))
        self._text, self._at = rest + piece, 0
        return bool(piece)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds the number {name}")


def an_object(value: Any, name: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no JSON object")
    return value


def a_list(value: Any, name: str) -> list[Any]:
    """A JSON list."""
    if not isinstance(value, list):
        raise ValueError(f"{name} is no list")
    return value


def text(entry: Mapping[str, Any], name: str) -> str:
    """A text of an object."""
    if not isinstance(entry.get(name), str):
        raise ValueError(f"{name} is no text")
    return entry[name]


def truth(entry: Mapping[str, Any], name: str) -> bool:
    """True or false of an object."""
    if not isinstance(entry.get(name), bool):
        raise ValueError(f"{name} is neither true nor false")
    return entry[name]


def a_number(entry: Mapping[str, Any], name: str) -> float:
    """A finite number of an object."""
    return finite(entry.get(name), name)


def numbers(entry: Mapping[str, Any], name: str, count: int) -> tuple[float, ...]:
    """A list of `count` finite numbers of an object."""
    values = a_list(entry.get(name), name)
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} numbers instead of {count}")
    return tuple(finite(value, name) for value in values)


def finite(value: Any, name: str) -> float:
    """A finite number."""
    if not is_number(value):
        raise ValueError(f"{name} is no number")
    return float(value)


def number_or_none(entry: Mapping[str, Any], name: str) -> float | None:
    """A finite number of an object; None if it is missing or anything else."""
    value = entry.get(name)
    return float(value) if is_number(value) else None


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
