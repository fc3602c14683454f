"""Adapter: how one kind of a user's model becomes a ScoreModel. One file a kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.score_model import ScoreModel

Features = Callable[[Tensor], Any] | str


FUNCTION = "<function>"


def features_name(features: Features | None) -> str | None:
    """Features as they are saved: the name of a submodule, or that they were a function."""
    return features if features is None or isinstance(features, str) else FUNCTION


def no_spec(spec: str, options: AdapterOptions) -> ScoreModel:
    """The `load` of a kind of model that has no SPEC of its own; always raises a UserError."""
    raise UserError(f"{spec} names no model; give package.module:attribute.")


@dataclass(frozen=True)
class AdapterOptions:
    """What a user says about a model beside the model itself.

    Attributes:
        trust: a file that runs code when it is loaded may do so.
        black_box: explain it without its gradient; None leaves it to the adapter.
        features: a function of the preprocessed images, or the name of the submodule whose input
            are the features; None looks for them.
    """

    trust: bool = False
    black_box: bool | None = None
    features: Features | None = None


@dataclass(frozen=True)
class Adapter:
    """One kind of model.

    Attributes:
        name: as it is listed and saved.
        spec: the form it has on the command line; "" where it has none.
        meaning: what it is for, in a line.
        takes_spec: whether a SPEC has this form.
        load: SPEC to model.
        takes: whether a Python object is of this kind.
        wrap: Python object to model.
        why_trust: why it needs `--trust`, as the end of a sentence; "" where it needs none.
        extra: the extra of ifnormal with the packages it needs.
        packages: those packages.
    """

    name: str
    spec: str
    meaning: str
    takes_spec: Callable[[str], bool]
    load: Callable[[str, AdapterOptions], ScoreModel]
    takes: Callable[[Any], bool]
    wrap: Callable[[Any, AdapterOptions], ScoreModel]
    why_trust: str = ""
    extra: str = ""
    packages: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """The packages it needs that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]
