"""The one kind of error a user is meant to read."""


class UserError(Exception):
    """Something the user can put right: one sentence that names the file or option and the way out.

    The command line prints the sentence and exits with code 2; anything else is a bug of ours.
    """


class DivergenceError(UserError):
    """A loss became NaN or infinite; the sentence names the term and the last good checkpoint."""


def one_line(text: object) -> str:
    """What somebody else's error says, fit for the middle of a sentence."""
    return " ".join(str(text).split())[:200].rstrip(".")
