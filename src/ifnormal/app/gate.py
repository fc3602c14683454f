"""ASGI middleware before gradio that lets through only the requests that the page itself makes.

Gradio also serves files by path, fetches URLs for its visitors and can edit its own source. The
page needs none of these routes, so all of them are refused.
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
# Scripts and styles of gradio, and its sign that a page is still open.
_FOLDERS = ("/assets/", "/static/", f"{_API}/heartbeat/")
# Forbids the page to load anything from elsewhere: it works offline and contacts nobody.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
)


def gate(app: App, hosts: frozenset[str]) -> App:
    """Wrap an ASGI application.

    Args:
        app: the application.
        hosts: accepted values of the header `Host`. Others are refused, since a web site could give
            this machine another name and talk to the page by it (DNS rebinding).
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
