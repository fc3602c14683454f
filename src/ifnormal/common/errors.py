"""The one kind of error a user is meant to read."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right: one sentence that names the file or option and the way out.

    The command line prints the sentence and exits with code 2; anything else is a bug of ours.
    """


class DivergenceError(UserError):
    """A loss became NaN or infinite; the sentence names the term and the last good checkpoint."""


def one_line(text: object) -> str:
    """What somebody else's error says, fit for the middle of a sentence."""
    return " ".join(str(text).split())[:200].rstrip(".")


def printable(text: str) -> str:
    r"""The text on one line, with everything a terminal would act on or not show written out.

    A file name may hold line breaks, escape sequences that move the cursor or set the title,
    marks that turn the direction of reading, or bytes that are no text. Each becomes its Python
    escape, such as `\x1b`; letters of any script stay.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
