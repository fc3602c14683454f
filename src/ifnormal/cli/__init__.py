"""The command line: parses the arguments, calls the verb and prints errors as one sentence.

Options are the fields of the dataclasses in `config/`. Nothing here imports torch before a verb is
called, so that `--help` is fast.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from ifnormal.cli.parsing import make_parser, sentence, underscored
from ifnormal.cli.verb import Options
from ifnormal.cli.verbs import VERBS
from ifnormal.common.errors import UserError, printable

_FAILED, _INTERRUPTED, _BROKEN_PIPE = 2, 130, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that the arguments name.

    Returns:
        The exit code: 0, 2 after an error, or 130 after an interruption.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an old terminal may lack our arrows
    try:
        _run(arguments)
        sys.stdout.flush()
    except UserError as error:
        return _fail(str(error), _FAILED)
    except KeyboardInterrupt:
        return _fail(_how_to_continue(arguments), _INTERRUPTED)
    except BrokenPipeError:
        # The reader has closed the pipe; Python must not write to it again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        file, reason = error.filename or "A file", error.strerror or error
        return _fail(
            f"{file} cannot be used ({reason}); put that right or name another folder.", _FAILED
        )
    return 0


def _run(arguments: Sequence[str]) -> None:
    given = [underscored(argument) for argument in arguments]
    if given and given[0] in VERBS:
        given[1:] = VERBS[given[0]].rewrite(given[1:])
    asked = next((argument for argument in given if argument in VERBS), "")
    try:
        parsed = make_parser(VERBS, asked).parse_args(given)
    except SystemExit:  # --help and --version have answered
        return
    except argparse.ArgumentError as error:
        raise UserError(sentence(str(error), arguments, VERBS)) from None
    if parsed.verb is None:
        raise UserError(f"Name one of the verbs {', '.join(VERBS)}; see ifnormal --help.")
    VERBS[parsed.verb].call(_values(parsed[parsed.verb].as_dict()))


def _values(options: Options) -> dict[str, Any]:
    """The options without those that the parser adds, such as the file they were read from."""
    return {
        name: _values(value) if isinstance(value, dict) else value
        for name, value in options.items()
        if not name.startswith("__")
    }


def _fail(sentence: str, code: int) -> int:
    print(f"ifnormal: {printable(' '.join(sentence.split()))}", file=sys.stderr)
    return code


def _how_to_continue(arguments: Sequence[str]) -> str:
    verb = next((argument for argument in arguments if argument in VERBS), None)
    if verb is not None and VERBS[verb].goes_on:
        return "Stopped; the same command again goes on from there."
    if verb is None or not VERBS[verb].resumable:
        return "Stopped; give the same command again to do it anew."
    again = [argument for argument in arguments if argument != "--resume"]
    return f"Stopped; ifnormal {shlex.join(again)} --resume goes on from the last checkpoint."
