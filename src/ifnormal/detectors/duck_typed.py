"""Detectors by duck typing: objects that have a detector's members but another base class."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

from torch import Tensor, nn

from ifnormal.common.errors import UserError
from ifnormal.detectors.detector import Detector

_REQUIRED = ("shape", "threshold", "inspect")
_ABSENT = object()


def checked_detector(candidate: Any) -> Detector | None:
    """The candidate as a `Detector` whose members have been checked.

    Returns:
        The candidate itself where it derives from `Detector`; a wrapper around it where it only has
        the members `__call__`, `inspect`, `shape` and `threshold`; None where it is no detector, so
        that an adapter has to make one of it.

    Raises:
        UserError: a member has a wrong type or value, or contradicts another one.
    """
    if isinstance(candidate, Detector):
        _check(candidate)
        return candidate
    is_detector = callable(candidate) and all(hasattr(candidate, name) for name in _REQUIRED)
    if not is_detector or isinstance(candidate, type):
        return None
    _check(candidate)
    return DuckTypedDetector(candidate)


class DuckTypedDetector(Detector):
    """A detector whose members are those of an object, and the defaults where it lacks one.

    Attributes:
        wrapped: the object. Its other attributes can be read here as well.
    """

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def __getattribute__(self, name: str) -> Any:
        own = name.startswith("__") or name in ("wrapped", "torch_module")
        if own or not hasattr(self.wrapped, name):
            return super().__getattribute__(name)
        value = getattr(self.wrapped, name)
        return float(value) if name in ("threshold", "own_threshold") else value

    def __call__(self, images: Tensor) -> Tensor:
        """The object's scores (N,) in [0, 1] of (N, C, H, W) float images in [0, 1]."""
        scores: Tensor = self.wrapped(images)
        return scores

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The object's log-odds (N,) and features (N, F)."""
        log_odds, features = self.wrapped.inspect(images)
        return log_odds, features

    def torch_module(self) -> nn.Module | None:
        """The object, where it is a torch module."""
        return self.wrapped if isinstance(self.wrapped, nn.Module) else None


def _check(candidate: Any) -> None:
    kind = type(candidate).__name__
    for name, (is_right, remedy) in _RULES.items():
        value = getattr(candidate, name, _ABSENT)
        if value is _ABSENT and name in _REQUIRED:
            raise UserError(f"The detector {kind} has no {name}; {remedy}.")
        if value is not _ABSENT and not is_right(value):
            raise UserError(f"The {name} of the detector {kind} is {_shown(value)}; {remedy}.")
    own = [name for name in ("own_units", "own_threshold") if _defines(candidate, name)]
    if len(own) == 1:
        missing = "own_threshold" if own == ["own_units"] else "own_units"
        raise UserError(
            f"The detector {kind} has {own[0]} but no {missing}, which puts scores and threshold "
            "on two scales; define both or neither."
        )
    if not own and getattr(candidate, "higher_is", "") == "normal":
        raise UserError(
            f'The detector {kind} has higher_is = "normal" but no own_units, and scores in [0, 1] '
            "are higher for anomalous images; define own_units and own_threshold, or leave "
            "higher_is out."
        )


def _defines(candidate: Any, name: str) -> bool:
    """Whether a member is the candidate's own, not the default of `Detector`."""
    if not isinstance(candidate, Detector):
        return hasattr(candidate, name)
    inherited = getattr(type(candidate), name) is getattr(Detector, name)
    return not inherited or name in vars(candidate)


def _shown(value: Any) -> str:
    return f"a {type(value).__name__}" if callable(value) else repr(value)[:60]


def _number(value: Any) -> float:
    """A number as a float; NaN for anything else."""
    try:
        return math.nan if isinstance(value, str | bool) else float(value)
    except (TypeError, ValueError, RuntimeError):
        return math.nan


def _is_shape(value: Any) -> bool:
    is_triple = isinstance(value, Sequence) and len(value) == 3
    return is_triple and all(isinstance(side, Integral) and int(side) > 0 for side in value)


# What each member has to be, and how to put it right.
_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "shape": (_is_shape, "set it to three positive whole numbers (C, H, W)"),
    "threshold": (
        lambda value: 0 <= _number(value) <= 1,
        "set it to a number in [0, 1] as scores are, and define own_units and own_threshold for "
        "another scale",
    ),
    "inspect": (callable, "make it a method that returns log-odds and features of images"),
    "own_units": (callable, "make it a method from log-odds to scores"),
    "own_threshold": (
        lambda value: math.isfinite(_number(value)),
        "set it to a finite number in the units of own_units",
    ),
    "higher_is": (
        lambda value: value in ("anomalous", "normal"),
        'set it to "anomalous" or "normal"',
    ),
    "is_black_box": (
        lambda value: isinstance(value, bool),
        "set it to True or False, as an attribute or a property",
    ),
    "facts": (
        lambda value: isinstance(value, Mapping),
        "set it to a dict of what is worth saving, as an attribute or a property",
    ),
    "heatmap": (
        lambda value: value is None or callable(value),
        "make it a method from images to heatmaps, or None",
    ),
    "save": (callable, "make it a method that takes a folder"),
}
