"""The live page over HTTP: what a stranger's requests get, and what stays behind."""

from __future__ import annotations

import json
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app_server import free_port, serving
from ifnormal.app.uploads import LARGEST_UPLOAD
from ifnormal.cli import main
from ifnormal.common.pixels import png_bytes
from known_detectors import red

# Only the server imports it.
pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="needs the extra app")


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def address(temporary: Path) -> Iterator[str]:
    with serving(temporary) as address:
        yield address
    assert [path for path in temporary.rglob("*") if path.is_file()] == [], "nothing stays behind"
    assert list(temporary.glob("ifnormal*")) == []


def ask(url: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(
        url, data, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def upload(address: str, content: bytes, **headers: str) -> tuple[int, bytes]:
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    return ask(
        f"{address}/gradio_api/upload",
        body + content + b"\r\n--b--\r\n",
        Content_Type="multipart/form-data; boundary=b",
        **headers,
    )


def take(address: str, path: str, session: str) -> dict[str, Any]:
    """What the page's own request for an uploaded file is answered with."""
    file = {"path": path, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
    joined = {"data": [file], "fn_index": 0, "session_hash": session, "trigger_id": 1}
    status, _ = ask(
        f"{address}/gradio_api/queue/join",
        json.dumps(joined).encode(),
        Content_Type="application/json",
    )
    assert status == 200
    _, events = ask(f"{address}/gradio_api/queue/data?session_hash={session}")
    messages = [json.loads(line[6:]) for line in events.splitlines() if line.startswith(b"data: ")]
    return next(message for message in messages if message["msg"] == "process_completed")


def panel(answer: dict[str, Any]) -> str:
    """The HTML beside the controls."""
    texts = [part for part in answer["output"]["data"] if isinstance(part, str)]
    return texts[0]


def test_the_page_asks_for_nothing_elsewhere(address: str) -> None:
    status, page = ask(address)
    assert status == 200
    for elsewhere in (b"fonts.googleapis", b"cdn", b"gradio.live", b"huggingface.co"):
        assert elsewhere not in page


def test_only_this_machine_can_reach_it(address: str) -> None:
    port = int(address.rpartition(":")[2])
    others = {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
    with socket.socket(socket.AF_INET6) as other:
        assert other.connect_ex(("::1", port)) != 0
    for host in others - {"127.0.0.1", "::1"}:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as other:
            other.settimeout(5)
            assert other.connect_ex((host, port)) != 0, host


def test_nothing_is_served_by_path(address: str, temporary: Path) -> None:
    secret = temporary.parent / "secret.txt"
    secret.write_text("top secret")
    known = [str(secret), "/etc/passwd", __file__]
    for path in [*known, *(quote(path, safe="") for path in known), "../" * 12 + "etc/passwd"]:
        for route in ("gradio_api/file=", "gradio_api/file/", "file=", "static/", "assets/"):
            status, answer = ask(f"{address}/{route}{path}")
            assert status in (403, 404), (route, path)
            assert b"secret" not in answer
            assert b"root:" not in answer


def test_not_even_uploads_are(address: str) -> None:
    status, answer = upload(address, b"mine")
    assert status == 200
    (path,) = json.loads(answer)
    assert Path(path).read_bytes() == b"mine"
    assert ask(f"{address}/gradio_api/file={path}")[0] == 403
    Path(path).unlink()


def test_an_image_is_scored_and_does_not_stay(address: str) -> None:
    (path,) = json.loads(upload(address, png_bytes(red(1, seed=7)[0]))[1])
    answer = take(address, path, "image")
    assert answer["success"]
    page = panel(answer)
    assert 'class="score"' in page
    assert page.count("data:image/png;base64,") == 4, "three pictures and a download"
    assert not Path(path).exists()


@pytest.mark.parametrize(
    "content", [b"<script>alert(1)</script>", b"GIF89a", png_bytes(red(1)[0])[:70]]
)
def test_what_is_no_image_gets_a_sentence(address: str, content: bytes) -> None:
    (path,) = json.loads(upload(address, content)[1])
    page = panel(take(address, path, f"bad{len(content)}"))
    assert 'role="alert"' in page
    assert "The file cannot be read as an image" in page
    assert "Traceback" not in page
    assert not Path(path).exists()


def test_a_forged_path_is_neither_read_nor_removed(address: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.png"
    mine.write_bytes(png_bytes(red(1)[0]))
    for number, path in enumerate([str(mine), "/etc/passwd", f"{tmp_path}/x/../mine.png"]):
        answer = take(address, path, f"forged{number}")
        shown = json.dumps(answer)
        assert 'class=\\"score\\"' not in shown
        assert "root:" not in shown
    assert mine.exists()
    assert Path("/etc/passwd").exists()


def test_uploads_are_limited(address: str, temporary: Path) -> None:
    status, answer = upload(address, b"0" * (LARGEST_UPLOAD + 1))
    assert status == 413
    assert b"maximum allowed size" in answer
    large = [p for p in temporary.rglob("*") if p.is_file() and p.stat().st_size > 2**20]
    assert large == []


def test_other_sites_cannot_use_it(address: str) -> None:
    assert upload(address, b"x", Origin="http://example.org")[0] == 403
    assert ask(address, Host="example.org")[0] == 403


class TestMistakes:
    def test_a_port_that_is_taken(self, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert main(["app", "--port", str(port)]) == 2
        assert f"The port {port} of this machine cannot be used" in capsys.readouterr().err

    @pytest.mark.parametrize("port", [0, -1, 65536])
    def test_what_is_no_port(self, port: int, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["app", "--port", str(port)]) == 2
        assert "between 1 and 65535" in capsys.readouterr().err

    def test_no_explainer(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["app", "--explainer", str(tmp_path)]) == 2
        assert "explainer.json does not exist" in capsys.readouterr().err

    def test_no_gradio(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "gradio", None)
        assert main(["app", "--port", str(free_port())]) == 2
        assert 'pip install "ifnormal[app]"' in capsys.readouterr().err
