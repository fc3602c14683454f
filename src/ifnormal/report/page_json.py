"""Data for the page's script: JSON that can stand inside HTML, whatever it holds."""

from __future__ import annotations

import json
from typing import Any

# Inside a script element only "<" could end it early; the others are for readers of other kinds.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'"}


def page_json(value: Any) -> str:
    """`value` as ASCII JSON without a character that means anything to HTML.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)
