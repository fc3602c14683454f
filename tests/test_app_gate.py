"""The gate before gradio: what the page needs is open to this machine's page, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ifnormal.app.gate import gate

HOSTS = frozenset({"127.0.0.1:7860", "localhost:7860"})


def ask(path: str, kind: str = "http", **headers: str) -> tuple[int | None, dict[bytes, bytes]]:
    """Status and headers of the answer; no status if there is no answer."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-inner", b"1")]})
        await send({"type": "http.response.body", "body": b"inner"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the gate reads nothing")

    given = {"host": "127.0.0.1:7860", **headers}
    scope = {
        "type": kind,
        "path": path,
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
    }
    asyncio.run(gate(app, HOSTS)(scope, receive, send))
    return (sent[0]["status"], dict(sent[0]["headers"])) if sent else (None, {})


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/config",
        "/theme.css",
        "/assets/index.js",
        "/static/fonts/x.woff2",
        "/gradio_api/upload",
        "/gradio_api/queue/join",
        "/gradio_api/queue/data",
        "/gradio_api/heartbeat/abc",
    ],
)
def test_what_the_page_needs(path: str) -> None:
    status, headers = ask(path)
    assert status == 200
    assert headers[b"x-inner"] == b"1"
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert b"http" not in headers[b"content-security-policy"], "no other place is named"


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/file=/etc/passwd",
        "/gradio_api/file=http://example.org/",
        "/gradio_api/proxy=http://example.org/",
        "/gradio_api/custom_component/x/client/component/index.js",
        "/gradio_api/vibe-edit/",
        "/gradio_api/info",
        "/gradio_api/run/predict",
        "/gradio_api/call/take",
        "/gradio_api/stream/x/y/z/playlist-file",
        "/gradio_api/runs",
        "/monitoring",
        "/docs",
        "/openapi.json",
        "/assets/../../etc/passwd",
        "/assets//etc/passwd",
        "/assets/..\\x",
        "/static/\\x",
        "/config/../gradio_api/file=/etc/passwd",
        "",
        "/nothing",
    ],
)
def test_everything_else_is_refused(path: str) -> None:
    status, headers = ask(path)
    assert status == 403
    assert b"x-inner" not in headers


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "example.org:7860"},
        {"host": "127.0.0.1"},
        {"host": "127.0.0.1:7861"},
        {"host": ""},
        {"origin": "http://example.org"},
        {"origin": "http://127.0.0.1:7861"},
        {"origin": "null"},
    ],
    ids=str,
)
def test_another_site_is_refused(headers: dict[str, str]) -> None:
    assert ask("/", **headers)[0] == 403


def test_the_pages_own_origin() -> None:
    assert ask("/gradio_api/upload", origin="http://127.0.0.1:7860")[0] == 200
    assert ask("/", host="localhost:7860")[0] == 200


def test_other_protocols() -> None:
    assert ask("/", "websocket")[0] is None
    assert ask("", "lifespan")[0] == 200, "the server's own start and end"
