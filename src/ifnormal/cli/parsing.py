"""The parser of the command line, and its errors as one sentence with a way out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from jsonargparse import ArgumentParser

from ifnormal.cli.help import Parser, with_dashes
from ifnormal.cli.verb import Verb
from ifnormal.version import __version__


def make_parser(verbs: Mapping[str, Verb], asked: str | None = None) -> ArgumentParser:
    """The parser of the whole command line.

    Args:
        verbs: by their names.
        asked: the verb whose options are needed, or "" for none; by default those of all verbs.
    """
    parser = Parser(
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
        description="A run is a folder. The verb demo makes a whole run; train-detector, fit, "
        "explain, evaluate and report make its parts. Every verb has a help of its own: "
        "ifnormal VERB --help.",
        required=False,
    )
    for name, verb in verbs.items():
        options = subparser(f"{name} {verb.usage}", verb.help)
        subcommands.add_subcommand(name, options, help=verb.help)
        if asked in (None, name):  # all options of all verbs take a while to add
            verb.add_options(options)  # after add_subcommand, as a verb may have subcommands
    return parser


def subparser(usage: str, help: str) -> ArgumentParser:
    """The parser of a verb, or of what is below one."""
    return Parser(usage=f"ifnormal {usage}", description=f"{help[:1].upper()}{help[1:]}.")


def underscored(argument: str) -> str:
    """`--fit.batch-size=8` as `--fit.batch_size=8`; anything but an option as it is."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def sentence(message: str, arguments: Sequence[str], verbs: Mapping[str, Verb]) -> str:
    """An error of the parser, which may have several lines, as one sentence with a way out."""
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
