"""What went wrong in someone else's code, in a few words."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's text, cut short; its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
