"""The page as text: templates filled in, style and script inlined, everything else forbidden."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ifnormal.report.wording import counted, score


def render(values: Mapping[str, Any]) -> bytes:
    """Fill in `page/report.html.j2`, as UTF-8.

    Everything in `values` is escaped; only our own style sheet and script go in as they are.
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
    style, script = _text("style.css"), _text("slider.js")
    html = environment.get_template("report.html.j2").render(
        # Markup: these two are files of this package, not data.
        **values,
        style=Markup(style),
        script=Markup(script),
        policy=policy(style, script),
    )
    # Names from a file system may hold surrogates, which have no UTF-8.
    return html.encode("utf-8", errors="backslashreplace")


def policy(style: str, script: str) -> str:
    """A content security policy under which only this style, this script and data: images run."""
    return "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_digest(style)}'",
            f"script-src '{_digest(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _text(name: str) -> str:
    return (files("ifnormal.report") / "page" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
