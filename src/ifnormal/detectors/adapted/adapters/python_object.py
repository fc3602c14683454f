"""`package.module:attribute`: whatever the user's own Python code offers under a name."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.adapters import (
    anomalib_model,
    estimator,
    exported_program,
    python_function,
    torch_module,
)
from ifnormal.detectors.adapted.adapters.adapter import Adapter, AdapterOptions
from ifnormal.detectors.adapted.score_model import ScoreModel

# Adapters that take Python objects, tried in this order: the more special ones first.
OBJECT_ADAPTERS: tuple[Adapter, ...] = (
    exported_program.ADAPTER,
    anomalib_model.ADAPTER,
    torch_module.ADAPTER,
    estimator.ADAPTER,
    python_function.ADAPTER,
)
_FORM = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def import_object(spec: str) -> Any:
    """Import what `package.module:attribute` names, as Python would from the working directory.

    A class or function that takes nothing is called, and what it returns is meant; a function that
    takes images is meant itself. Importing runs the user's own code, which needs no --trust.

    Raises:
        UserError: there is no such module or attribute, or the import fails.
    """
    module_name, _, attribute = spec.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        value: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            value = getattr(value, part)
        return value() if _is_factory(value) else value
    except ModuleNotFoundError as error:
        raise UserError(
            f"{spec} cannot be imported, there is no module {error.name}; install it, or start "
            "ifnormal in the folder that holds it."
        ) from None
    except AttributeError as error:
        raise UserError(f"{spec} cannot be imported ({error}); correct the attribute.") from None
    except Exception as error:  # whatever a user's module does when it is imported
        raise UserError(
            f"{spec} cannot be imported ({type(error).__name__}: {error}); correct that module."
        ) from error


def _is_factory(value: Any) -> bool:
    """Whether it can be called with nothing, and is a class or cannot be called with images."""
    if not callable(value) or not (inspect.isclass(value) or inspect.isroutine(value)):
        return False
    try:
        signature = inspect.signature(value)
        signature.bind()
    except (TypeError, ValueError):
        return False
    if inspect.isclass(value):
        return True
    try:
        signature.bind(None)
    except TypeError:
        return True
    return False


def adapter_of(model: Any, name: str = "The detector") -> Adapter:
    """The adapter of a Python object.

    Raises:
        UserError: there is none.
    """
    for adapter in OBJECT_ADAPTERS:
        if adapter.takes(model):
            return adapter
    raise UserError(
        f"{name} is a {type(model).__name__}, which no adapter takes; give a torch module, a "
        "function of images, or an estimator with decision_function or score_samples."
    )


def _load(spec: str, options: AdapterOptions) -> ScoreModel:
    value = import_object(spec)
    if isinstance(value, str | Path):
        raise UserError(f"{spec} is text, not a detector; name the model or function itself.")
    model = adapter_of(value, spec).wrap(value, options)
    model.spec = spec
    return model


ADAPTER = Adapter(
    name="python object",
    spec="package.module:attribute",
    meaning="a torch module, function or estimator of your own code, or a function making one",
    takes_spec=lambda spec: _FORM.fullmatch(spec) is not None,
    load=_load,
)
