"""Rendering: templates filled in, style and scripts inlined, any other source forbidden."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from itertools import chain
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ifnormal.report.wording import counted

STYLES = (
    "style.css",
    "gallery.css",
    "detail.css",
    "opinions.css",
    "concepts.css",
    "beside.css",
    "suspects.css",
    "print.css",
)
# The first runs before anything is drawn, the others when all but the details are there.
EARLY = "early.js"
SCRIPTS = ("scores.js", "filter.js", "gallery.js", "panel.js", "detail.js", "keys.js", "paper.js")
# Where the details of the anomalies go: last, so that the page is drawn before they are read.
_DETAILS = "<!-- details -->"


def render(
    values: Mapping[str, Any],
    score: Callable[[float], str],
    index: str,
    details: Iterable[str],
    links: bool,
) -> Iterator[bytes]:
    """Fill in `page/report.html.j2`, as UTF-8, piece by piece: with its details it is large.

    Everything in `values` is escaped; only our own style sheet and scripts and the JSON texts,
    which are harmless in HTML as they are, go in without.

    Args:
        values: what the templates ask for.
        score: writes a detector score.
        index, details: see `ifnormal.report.gallery`.
        links: allow pictures from files beside the page.
    """
    environment = Environment(
        loader=PackageLoader("ifnormal.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        score=score, counted=counted, percentage=lambda share: f"{100 * share:.1f}%"
    )
    style = "\n".join(_text(name) for name in STYLES)
    early, script = _text(EARLY), "\n".join(['"use strict";', *map(_text, SCRIPTS)])
    html = environment.get_template("report.html.j2").render(
        # Markup: these are files of this package and JSON without a character of HTML.
        **values,
        style=Markup(style),
        early=Markup(early),
        script=Markup(script),
        index=Markup(index),
        policy=policy(style, [early, script], links),
    )
    head, _, tail = html.rpartition(_DETAILS)
    # Names from a file system may hold surrogates, which have no UTF-8.
    for part in chain([head], details, [tail]):
        yield part.encode("utf-8", errors="backslashreplace")


def policy(style: str, scripts: Iterable[str], links: bool) -> str:
    """A content security policy under which only this style, these scripts and data: images run.

    Pictures beside the page are "self" where it is served, and of the scheme file: where it is not.
    """
    return "; ".join(
        [
            "default-src 'none'",
            "img-src data:" + (" 'self' file:" if links else ""),
            f"style-src '{_digest(style)}'",
            "script-src " + " ".join(f"'{_digest(script)}'" for script in scripts),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _text(name: str) -> str:
    return (files("ifnormal.report") / "page" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


# Inside a script element only "<" could end it early; the others are for readers of other kinds.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&'"}


def page_json(value: Any) -> str:
    """`value` as ASCII JSON without a character that means anything to HTML.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)
