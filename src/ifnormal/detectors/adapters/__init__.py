"""Adapters for users' detectors, one file each. A new one is a file and a line here.

The order is the order of trying: the more special before the more general.
"""

from typing import Any

from ifnormal.detectors.adapters import onnx_file, python_function, python_object, torch_module
from ifnormal.detectors.adapters.adapter import Adapter, AdapterOptions, Features
from ifnormal.errors import UserError

ADAPTERS: tuple[Adapter, ...] = (
    onnx_file.ADAPTER,
    python_object.ADAPTER,
    torch_module.ADAPTER,
    python_function.ADAPTER,
)


def adapter_of(model: Any, name: str = "The detector") -> Adapter:
    """The adapter of a Python object.

    Raises:
        UserError: there is none.
    """
    for adapter in ADAPTERS:
        if adapter.takes(model):
            return adapter
    raise UserError(
        f"{name} is a {type(model).__name__}, which no adapter takes; give a torch module, a "
        "function of images, or an estimator with decision_function or score_samples."
    )


__all__ = ["ADAPTERS", "Adapter", "AdapterOptions", "Features", "adapter_of"]
