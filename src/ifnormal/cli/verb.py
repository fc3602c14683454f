"""Verb: one command of the command line, and options that several verbs share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from docstring_parser import parse
from jsonargparse import ArgumentParser

from ifnormal.common.errors import UserError
from ifnormal.config.editors import EditorConfig

RUN = Path("runs/demo")
_DATA = "IFNORMAL_DATA"

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Verb:
    """What a verb does, its options and its help.

    Attributes:
        call: does the work. It imports what it needs itself, so that `--help` loads no torch.
        add_options: adds its options to a parser.
        usage: the usage line of `--help`, after the verb.
        help: what it does, in one line.
        resumable: takes --resume after an interruption.
        goes_on: continues without --resume when the same command is given again.
        rewrite: spells out abbreviated arguments.
    """

    call: Callable[[Options], None]
    add_options: Callable[[ArgumentParser], None]
    usage: str
    help: str
    resumable: bool = False
    goes_on: bool = False
    rewrite: Callable[[Sequence[str]], list[str]] = list


def add_config(parser: ArgumentParser, config: type) -> None:
    """Add every field of a dataclass as an option.

    Fields that are False by default become flags; empty tuples become options that can be given
    several times.
    """
    flags = [field.name for field in fields(config) if field.default is False]
    lists = [field.name for field in fields(config) if field.default == ()]
    parser.add_class_arguments(config, skip={*flags, *lists})
    said = {
        param.arg_name: param.description
        for part in reversed(config.__mro__)
        for param in parse(part.__doc__ or "").params
    }
    for name in flags:
        parser.add_argument(f"--{name}", action="store_true", help=said[name])
    for name in lists:
        parser.add_argument(f"--{name}", action="append", metavar="WORDS", help=said[name])


def editor_config(options: Options) -> EditorConfig:
    """The editor that the options of `EditorConfig` choose."""
    given = {field.name: options[field.name] for field in fields(EditorConfig)}
    return EditorConfig(**{**given, "prompt": tuple(given["prompt"] or ())})


def add_images(parser: ArgumentParser, help: str) -> None:
    """Add image files and folders, any number of them."""
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help=help)


def add_run(parser: ArgumentParser, *names: str) -> None:
    """Add the folder of the run."""
    parser.add_argument(
        *(names or ("--run",)),
        dest="run",
        type=Path,
        default=RUN,
        metavar="DIR",
        help="folder of the run",
    )


def add_resume(parser: ArgumentParser) -> None:
    """Add the option to continue an interrupted run."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run from its last checkpoint",
    )


def add_data_root(parser: ArgumentParser) -> None:
    """Add the folder of data sets."""
    parser.add_argument(
        "--data_root",
        type=Path,
        metavar="DIR",
        help="folder of data sets; the default is the environment variable IFNORMAL_DATA",
    )
    default_data_root(parser, "data_root")


def default_data_root(parser: ArgumentParser, key: str) -> None:
    """Make IFNORMAL_DATA, where it is set, the default of an option."""
    if os.environ.get(_DATA):
        parser.set_defaults({key: Path(os.environ[_DATA])})


def require_data_root(root: Path | None) -> None:
    """Refuse a data root that is no folder."""
    if root is not None and not root.expanduser().is_dir():
        raise UserError(
            f"The data root {root} is no folder; correct the option data-root or the environment "
            f"variable {_DATA}, or give neither."
        )
