"""Names that a stranger chose, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text on one line, with everything a terminal would act on or not show written out.

    A file name may hold line breaks, escape sequences that move the cursor or set the title,
    marks that turn the direction of reading, or bytes that are no text. Each becomes its Python
    escape, such as `\x1b`; letters of any script stay.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
