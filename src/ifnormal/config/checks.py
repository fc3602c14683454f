"""Checks that the dataclasses of options share."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ifnormal.common.errors import UserError


def require(condition: bool, message: str) -> None:
    """Raise a UserError with this message unless the condition holds."""
    if not condition:
        raise UserError(message)


def require_choices(config: object) -> None:
    """Raise a UserError unless every field declared as a `Literal` holds one of its values."""
    kind: Any = type(config)
    for name, choices in _choices(kind).items():
        require(
            getattr(config, name) in choices,
            f"{name} must be one of {', '.join(map(str, choices))}.",
        )


@cache
def _choices(kind: type) -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(kind).items()
    return {name: get_args(hint) for name, hint in hints if get_origin(hint) is Literal}


def require_seed(seed: int) -> None:
    """Refuse a seed that one of the libraries would not accept.

    Raises:
        UserError: it is negative or needs more than 32 bits.
    """
    require(0 <= seed < 2**32, f"seed must lie between 0 and {2**32 - 1}.")
