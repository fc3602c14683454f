"""Diffusion models of the Hugging Face hub, fetched after a look at what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ifnormal.common.errors import UserError, one_line
from ifnormal.common.hub import understood
from ifnormal.common.quiet import quiet
from ifnormal.common.storage import read_json
from ifnormal.explainers.diffusion.latent_backbone import Precision


def is_hub_name(name: Path | str) -> bool:
    """Whether it can be `owner/name`, and is no folder."""
    return not Path(name).is_dir() and not Path(name).is_absolute() and str(name).count("/") == 1


def fetch_json(name: str, file: str, revision: str | None = None) -> dict[str, Any]:
    """A small file of a model on the hub.

    Raises:
        UserError: there is no such model or file, it may not be read, or the hub cannot be reached.
    """
    import huggingface_hub as hub

    with understood(hub, name, revision):
        try:
            return read_json(Path(hub.hf_hub_download(name, file, revision=revision)))
        except hub.errors.LocalEntryNotFoundError:
            raise
        except hub.errors.EntryNotFoundError:
            raise UserError(
                f"{name} has no {file}; name a model in diffusers' format on the hub."
            ) from None


def fetch_pipeline(
    name: str, options: Mapping[str, Any], revision: str | None, precision: Precision
) -> Path:
    """The folder of a pipeline's parts, as far as they are wanted, in safetensors.

    Files in half precision are preferred where it is computed in that: they are half as large.

    Args:
        name: `owner/name`.
        options: of diffusers, which parts are not wanted.
        revision: a branch, tag or commit.
        precision: to compute in.

    Raises:
        UserError: it may not be read, or the hub cannot be reached.
    """
    import huggingface_hub as hub
    from diffusers import StableDiffusionPipeline

    variants = (None, "fp16") if precision == "float32" else ("fp16", None)
    for variant in variants:
        with understood(hub, name, revision):
            folder = Path(
                StableDiffusionPipeline.download(
                    name, revision=revision, variant=variant, **options
                )
            )
        if any((folder / "unet").glob("*.safetensors")):
            break
    return folder


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
        with quiet("diffusers", "transformers"):
            yield
    except ImportError as error:
        raise UserError(f"Diffusion models need diffusers ({one_line(error)}); {_EXTRA}.") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise UserError(
            f"{what} cannot be loaded ({one_line(error)}); it has to be {has_to_be}."
        ) from None
