"""The examples of docs/app.md and docs/interchange.md work as written."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ifnormal import cli
from ifnormal.common.pixels import to_pil
from ifnormal.explainers.explainer import Explainer
from known_explainers import built_in_explainer

ROOT = Path(__file__).parents[1]
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text() for name in ("app", "interchange")}


def blocks(page: str, language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGES[page], re.S | re.M)
    return [block for known, block in fenced if known == language]


def commands(page: str) -> list[str]:
    return [line for block in blocks(page, "sh") for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a user sits who has fitted an explainer and has photos."""
    monkeypatch.chdir(tmp_path)
    built_in_explainer().save(tmp_path / "runs" / "mine" / "explainer")
    (tmp_path / "photos").mkdir()
    for number in range(2):
        photo = torch.randint(256, (3, 40, 30)).to(torch.uint8)
        to_pil(photo).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def test_extras_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    extras = re.findall(r'install "\.\[(\w+)\]"', "".join(PAGES.values()))
    assert sorted(extras) == ["app", "export", "hub"]
    assert all(re.search(rf"^{extra} = \[", project, re.M) for extra in extras)


def test_links_lead_somewhere() -> None:
    links = [link for page in PAGES.values() for link in re.findall(r"\]\(([^)#:]+)\)", page)]
    files = [name for page in PAGES.values() for name in re.findall(r"`(src/[^`]+)`", page)]
    missing = [link for link in links if not (ROOT / "docs" / link).exists()]
    assert missing + [name for name in files if not (ROOT / name).exists()] == []


def test_folder_and_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hub that is a folder."""
    hub = pytest.importorskip("huggingface_hub")
    explainer = built_in_explainer()
    api = SimpleNamespace(
        create_repo=lambda name, **_: SimpleNamespace(repo_id=name),
        upload_folder=lambda **_: SimpleNamespace(commit_url="https://hub/commit/1"),
    )
    monkeypatch.setattr(hub, "HfApi", lambda **_: api)
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: str(folder / "colors"))
    examples = [block for block in blocks("interchange", "python") if "Explainer" in block]
    assert len(examples) == 2
    for example in examples:
        names: dict[str, Any] = {"explainer": explainer}
        exec(compile(example, "interchange.md", "exec"), names)
        assert isinstance(names["explainer"], Explainer)
        assert names["explainer"] is not explainer
    listed = re.findall(r"^\| `([^`]+)` \| ", PAGES["interchange"], re.M)
    assert listed == ["explainer.json", "explainer-*.safetensors", "detector/"]
    assert all(list((folder / "colors").glob(name)) for name in listed)


def test_onnx(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    pip, export = [line for line in commands("interchange") if "hub" not in line]
    assert pip.startswith("pip ")
    program, *arguments = shlex.split(export)
    assert program == "ifnormal"
    assert cli.main(arguments) == 0
    assert "2 images" in capsys.readouterr().out
    (example,) = [block for block in blocks("interchange", "python") if "onnxruntime" in block]
    names: dict[str, Any] = {}
    exec(compile(example.replace("32, 32", "16, 16"), "interchange.md", "exec"), names)
    assert names["edited"].shape == (5, 3, 16, 16)


def test_app(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[Explainer, int]] = []
    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace())
    monkeypatch.setattr("ifnormal.app.serving.require_port", lambda port: None)
    monkeypatch.setattr("ifnormal.app.serving.serve", lambda *what: served.append(what))
    _, command = commands("app")
    program, *arguments = shlex.split(command)
    assert program == "ifnormal"
    assert cli.main(arguments) == 0
    ((explainer, port),) = served
    assert explainer.seed == 5
    assert f"127.0.0.1:{port}" in PAGES["app"]
