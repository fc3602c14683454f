"""Reading what diffusers wrote: its errors as a sentence, and nothing else from it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ifnormal.common.errors import UserError, one_line

_EXTRA = "install the extra with pip install 'ifnormal[diffusion]'"


@contextmanager
def reading(what: str, has_to_be: str) -> Iterator[None]:
    """Quiet, and what diffusers raises becomes a sentence.

    Args:
        what: is read, with its name.
        has_to_be: what it has to be, to be read.

    Raises:
        UserError: it could not be read, or the extra `diffusion` is not installed.
    """
    try:
        with quiet():
            yield
    except ImportError as error:
        raise UserError(f"Diffusion models need diffusers ({one_line(error)}); {_EXTRA}.") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{what} cannot be loaded ({one_line(error)}); it has to be {has_to_be}."
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without what diffusers and transformers have to say to those who write pipelines."""
    import diffusers.utils.logging as of_diffusers
    import transformers.utils.logging as of_transformers

    told = [(module, module.get_verbosity()) for module in (of_diffusers, of_transformers)]
    for module, _ in told:
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
