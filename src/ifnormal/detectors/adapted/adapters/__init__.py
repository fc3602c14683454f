"""Adapters for users' models, one file each. A new one is a file and a line here.

They are tried in this order, the more special ones before the more general ones.
"""

from typing import Any

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.adapters import (
    anomalib_model,
    estimator,
    exported_program,
    onnx_file,
    python_function,
    python_object,
    torch_module,
    torchscript,
)
from ifnormal.detectors.adapted.adapters.adapter import (
    FUNCTION,
    Adapter,
    AdapterOptions,
    Features,
    features_name,
)

ADAPTERS: tuple[Adapter, ...] = (
    onnx_file.ADAPTER,
    exported_program.ADAPTER,
    torchscript.ADAPTER,
    python_object.ADAPTER,
    anomalib_model.ADAPTER,
    torch_module.ADAPTER,
    estimator.ADAPTER,
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


def adapter_of_spec(spec: str) -> Adapter:
    """The adapter of what was typed on the command line.

    Raises:
        UserError: it has no known form.
    """
    for adapter in ADAPTERS:
        if adapter.takes_spec(spec):
            return adapter
    forms = [adapter.spec for adapter in ADAPTERS if adapter.spec]
    raise UserError(
        f"{spec} is no detector that ifnormal knows; give {', '.join(forms)}, or a folder that "
        "train-detector wrote."
    )


__all__ = [
    "ADAPTERS",
    "FUNCTION",
    "Adapter",
    "AdapterOptions",
    "Features",
    "adapter_of",
    "adapter_of_spec",
    "features_name",
]
