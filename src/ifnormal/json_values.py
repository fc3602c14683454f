"""Values of a JSON document: of the expected kind, or a ValueError that says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


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
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is no number")
    return float(value)
