"""Without the notices of the packages of Hugging Face."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def quiet(*packages: str) -> Iterator[None]:
    """Without warnings, notices and progress bars, which are meant for who writes pipelines.

    Args:
        packages: "diffusers" or "transformers"; they are imported.

    Raises:
        ImportError: one of them is not installed.
    """
    modules = [import_module(f"{package}.utils.logging") for package in packages]
    told = [(module, module.get_verbosity()) for module in modules]
    for module in modules:
        module.set_verbosity_error()
        module.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for module, level in told:
            module.set_verbosity(level)
            module.enable_progress_bar()
