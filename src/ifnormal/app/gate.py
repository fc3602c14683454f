"""The gate before gradio: only what the page itself asks for, only from this machine's own page.

Gradio serves files by their path, fetches addresses for its visitors and edits its own source when
asked; the page needs none of it, so nothing of it can be reached.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_API = "/gradio_api"
_PAGES = frozenset(
    [
        "/",
        "/config",
        "/theme.css",
        "/favicon.ico",
        "/manifest.json",
        f"{_API}/startup-events",
        f"{_API}/upload",
        f"{_API}/upload_progress",
        f"{_API}/queue/join",
        f"{_API}/queue/data",
    ]
)
# Gradio's own scripts and styles, and the sign that a page is still open.
_FOLDERS = ("/assets/", "/static/", f"{_API}/heartbeat/")
# Nothing from elsewhere, so the page works without a network and tells nobody of itself.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
)


def gate(app: App, hosts: frozenset[str]) -> App:
    """Wrap an ASGI application.

    Args:
        app: the application.
        hosts: the values of `Host` that are this server, so that no other name of it on the web can
            be used to talk to it.
    """

    async def guarded(scope: Message, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", _POLICY.encode())
                message = {**message, "headers": [*message.get("headers", []), policy]}
            await send(message)

        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        elif scope["type"] == "http" and _is_open(scope, hosts):
            await app(scope, receive, send_with_policy)
        elif scope["type"] == "http":
            await _refuse(send)
        # Anything else, such as a websocket, is closed without an answer.

    return guarded


def _is_open(scope: Message, hosts: frozenset[str]) -> bool:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    origin = headers.get(b"origin")
    if headers.get(b"host") not in hosts or (origin and urlsplit(origin).netloc not in hosts):
        return False
    path: str = scope["path"]
    if ".." in path or "\\" in path or "//" in path:
        return False
    return path in _PAGES or path.startswith(_FOLDERS)


async def _refuse(send: Send) -> None:
    start = {"type": "http.response.start", "status": 403}
    await send({**start, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
    await send({"type": "http.response.body", "body": b"This is not served here.\n"})
