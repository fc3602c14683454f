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
    """What is saved of features: the name of a submodule, or that they were a function."""
    return features if features is None or isinstance(features, str) else FUNCTION


@dataclass(frozen=True)
class AdapterOptions:
    """What a user says about a model.

    Attributes:
        trust: a file that runs code when it is loaded may do so.
        black_box: explain it without its gradient; None leaves it to the adapter.
        features: a function of the preprocessed images, or the name of the submodule whose input
            are the features; None takes the last layer of a network.
    """

    trust: bool = False
    black_box: bool | None = None
    features: Features | None = None

    def feature_function(self, owner: str) -> Callable[[Tensor], Any] | None:
        """The features of a model without submodules.

        Raises:
            UserError: a submodule is named; `owner` is what the sentence calls the model.
        """
        if isinstance(self.features, str):
            raise UserError(
                f"{owner} has no submodule {self.features!r}; give features as a function."
            )
        return self.features


def _refuse(model: Any, options: AdapterOptions) -> ScoreModel:
    """The `load` or `wrap` of an adapter that takes no SPEC or no Python object."""
    raise UserError(f"{model} cannot be loaded by this adapter; give package.module:attribute.")


@dataclass(frozen=True)
class Adapter:
    """One kind of model.

    Attributes:
        name: as it is listed and saved.
        meaning: what it is for, in a line.
        spec: the form it has on the command line; "" where it has none.
        takes_spec: whether a SPEC has this form.
        load: SPEC to model.
        takes: whether a Python object is of this kind.
        wrap: Python object to model.
        why_trust: why it needs `--trust`, as the end of a sentence; "" where it needs none.
        extra: the extra of ifnormal with the packages it needs.
        packages: those packages.
    """

    name: str
    meaning: str
    spec: str = ""
    takes_spec: Callable[[str], bool] = lambda spec: False
    load: Callable[[str, AdapterOptions], ScoreModel] = _refuse
    takes: Callable[[Any], bool] = lambda value: False
    wrap: Callable[[Any, AdapterOptions], ScoreModel] = _refuse
    why_trust: str = ""
    extra: str = ""
    packages: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """The packages it needs that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]
