"""Checks of the values in a card's YAML file; every mistake is named by file and key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError


def mistake(path: Path, key: str, what: str) -> UserError:
    """The error about a key of a file."""
    return UserError(f"{path}: the key {key} {what}.")


def mapping(value: Any, path: Path, key: str) -> dict[str, Any]:
    """The value as a mapping."""
    if not isinstance(value, dict):
        raise mistake(path, key, "must be keys with values")
    return value


def require_known(keys: Mapping[str, Any], known: Collection[str], path: Path, at: str) -> None:
    """Refuse keys that are not `known`; `at` is what their names are preceded by."""
    for key in keys:
        if key not in known:
            raise mistake(path, f"{at}{key}", f"is unknown; the keys are {', '.join(known)}")


def require_all(keys: Mapping[str, Any], needed: Collection[str], path: Path, at: str) -> None:
    """Refuse a mapping that lacks one of the `needed` keys."""
    for key in needed:
        if key not in keys:
            raise mistake(path, f"{at}{key}", "is missing; add it")


def classes(value: Any, path: Path, key: str) -> tuple[str | int, ...]:
    """One class or a list of them, by names or numbers."""
    values = value if isinstance(value, list) else [value]
    for each in values:
        if isinstance(each, bool) or not isinstance(each, (str, int)):
            raise mistake(path, key, "must be names of classes or their numbers")
    if len(set(map(str, values))) != len(values):
        raise mistake(path, key, "names a class twice")
    return tuple(values)


def choice(value: Any, choices: tuple[Any, ...], path: Path, key: str) -> Any:
    """One of the choices."""
    if isinstance(value, bool) or value not in choices:
        raise mistake(path, key, f"is {value!r}, must be one of {', '.join(map(str, choices))}")
    return value


def whole(value: Any, least: int, path: Path, key: str) -> int:
    """A whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise mistake(path, key, f"must be a whole number of at least {least}")
    return value


def filled(text: Any, words: Mapping[str, str], path: Path, key: str) -> str:
    """A text with its placeholders, such as {name}, replaced."""
    try:
        return str(text).format(**words)
    except (KeyError, ValueError, IndexError):
        known = ", ".join(f"{{{word}}}" for word in words)
        raise mistake(path, key, f"may only hold {known}") from None
