"""Adapters for users' models, one file each.

A new one is a file and a line: here for files, in `python_object` for Python objects.
"""

from ifnormal.common.errors import UserError
from ifnormal.detectors.adapted.adapters import (
    exported_program,
    onnx_file,
    python_object,
    torchscript,
)
from ifnormal.detectors.adapted.adapters.adapter import (
    FUNCTION,
    Adapter,
    AdapterOptions,
    Features,
    features_name,
)
from ifnormal.detectors.adapted.adapters.python_object import OBJECT_ADAPTERS, adapter_of

_FILE_ADAPTERS = (
    onnx_file.ADAPTER,
    exported_program.ADAPTER,
    torchscript.ADAPTER,
    python_object.ADAPTER,
)
# Exported programs are files and Python objects.
ADAPTERS: tuple[Adapter, ...] = tuple(dict.fromkeys((*_FILE_ADAPTERS, *OBJECT_ADAPTERS)))


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
