"""Parsing: the parser of the verbs, and its complaints as one sentence with a way out."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import Any

from jsonargparse import ArgumentParser

from ifnormal.cli.verb import Verb
from ifnormal.version import __version__


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help with defaults, where there are any, and STEPS instead of FIT.STEPS for a value."""

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return super()._get_default_metavar_for_optional(action).rpartition(".")[2]

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


class _Parser(ArgumentParser):
    """Shows options with dashes; `underscored` takes them back to the dataclasses' names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            exit_on_error=False, allow_abbrev=False, formatter_class=_Formatter, **options
        )

    def format_help(self, *arguments: Any, **options: Any) -> str:
        """The help, with dashes in the names of options."""
        return with_dashes(super().format_help(*arguments, **options))


def make_parser(verbs: Mapping[str, Verb]) -> ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="ifnormal",
        usage="ifnormal [-h] [--version] VERB ...",
        description="What would have to change in this image for the anomaly detector to call it "
        "normal?",
    )
    parser.add_argument("--version", action="version", version=f"ifnormal {__version__}")
    subcommands = parser.add_subcommands(
        dest="verb",
        metavar="VERB",
        title="verbs",
        description="A run is a folder. demo makes one from end to end, the other verbs a part of "
        "it each; ifnormal VERB --help tells their options.",
        required=False,
    )
    for name, verb in verbs.items():
        options = subparser(f"{name} {verb.usage}", verb.help)
        subcommands.add_subcommand(name, options, help=verb.help)
        verb.add_options(options)  # after that, as it may have subcommands of its own
    return parser


def subparser(usage: str, help: str) -> ArgumentParser:
    """The parser of a verb, or of what is below one."""
    return _Parser(usage=f"ifnormal {usage}", description=f"{help}.")


def underscored(argument: str) -> str:
    """`--fit.batch-size=8` as `--fit.batch_size=8`; anything but an option as it is."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def with_dashes(text: str) -> str:
    """Options in a text as they are typed: `--batch-size`, not `--batch_size`."""
    return re.sub(r"--[\w.]+", lambda name: name[0].replace("_", "-"), text)


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def sentence(message: str, arguments: Sequence[str], verbs: Mapping[str, Verb]) -> str:
    """The parser's complaint, which may fill several lines, as one sentence with a way out."""
    verb = next((argument for argument in arguments if argument in verbs), None)
    way_out = f"see ifnormal {verb} --help." if verb else "see ifnormal --help."
    text = " ".join(message.split())
    if found := re.match(r'Parser key "([\w.]+)": Expected an? (.+)\. Got value: (.*)', text):
        name, kind, value = found.groups()
        choices = re.findall(r"'([^']*)'", kind) if "Literal" in kind else []
        types = [words for known, words in _KINDS.items() if f"'{known}'" in kind]
        wanted = f"one of {', '.join(choices)}" if choices else " or ".join(types) or kind
        text = f"--{name} must be {wanted}, not {value!r}"
    elif found := re.match(r'Parser key "([\w.]+)": Unable to load config (\S+)', text):
        text = f"--{found[1]} takes a YAML or JSON file of options, which {found[2]} is not"
    elif found := re.match(r"argument VERB: invalid choice: '?([^' ]*)", text):
        text, way_out = f"There is no verb {found[1]!r}", f"choose one of {', '.join(verbs)}."
    elif found := re.match(r"unrecognized arguments: (\S+)", text):
        text = f"{f'The verb {verb}' if verb else 'The command ifnormal'} does not take {found[1]}"
    elif found := re.match(r"argument (\S+): expected (one|at least one) argument", text):
        text = f"{found[1]} needs a value"
    return with_dashes(f"{text[:1].upper()}{text[1:].rstrip('.')}; {way_out}")
