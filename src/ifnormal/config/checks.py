"""Checks that the dataclasses of options share."""

from __future__ import annotations

from typing import Literal, get_args, get_origin, get_type_hints

from ifnormal.common.errors import UserError


def require(condition: bool, message: str) -> None:
    """Raise a UserError with this message unless the condition holds."""
    if not condition:
        raise UserError(message)


def require_choices(config: object) -> None:
    """Raise a UserError unless every field declared as a `Literal` holds one of its values."""
    for name, kind in get_type_hints(type(config)).items():
        if get_origin(kind) is Literal:
            choices = get_args(kind)
            require(
                getattr(config, name) in choices,
                f"{name} must be one of {', '.join(map(str, choices))}.",
            )


def require_seed(seed: int) -> None:
    """Refuse a seed that one of the libraries would not accept.

    Raises:
        UserError: it is negative or needs more than 32 bits.
    """
    require(0 <= seed < 2**32, f"seed must lie between 0 and {2**32 - 1}.")
