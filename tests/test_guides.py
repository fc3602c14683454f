"""The guides are run as they are written: every file, every Python block, every command."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ifnormal.cli.parsing import make_parser, underscored
from ifnormal.cli.verbs import VERBS

GUIDES = sorted((Path(__file__).parents[1] / "docs" / "guides").glob("*.md"))
NAMES = [guide.stem for guide in GUIDES if guide.stem != "README"]
INSTALLING = ("pip install",)
_RUN = """import subprocess


def _run(command):
    subprocess.run(command.split(), check=True)


"""


def blocks(guide: str) -> list[tuple[str, str]]:
    """The fenced blocks of a guide in order: what stands beside the fence, and the text."""
    text = next(path for path in GUIDES if path.stem == guide).read_text()
    return re.findall(r"^```(\w[\w ]*)\n(.*?)^```$", text, re.S | re.M)


def commands(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith(INSTALLING)]


def test_every_guide_is_listed() -> None:
    overview = next(path for path in GUIDES if path.stem == "README").read_text()
    assert set(NAMES) == set(re.findall(r"\]\(([\w-]+)\.md\)", overview))


@pytest.mark.parametrize("guide", [path.stem for path in GUIDES])
def test_links_and_syntax(guide: str) -> None:
    path = next(path for path in GUIDES if path.stem == guide)
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / link).exists(), link
    for kind, text in blocks(guide):
        if kind.startswith("python"):
            compile(text, guide, "exec")
        else:
            assert kind == "sh"


@pytest.mark.parametrize("guide", NAMES)
def test_commands_have_the_options_they_name(guide: str) -> None:
    parser = make_parser(VERBS)
    for kind, text in blocks(guide):
        for command in commands(text) if kind == "sh" else ():
            program, *arguments = command.split()
            assert program == "ifnormal"
            parser.parse_args([underscored(argument) for argument in arguments])


def test_options_named_in_passing_are_taken() -> None:
    text = next(path for path in GUIDES if path.stem == "README").read_text()
    options = [shlex.split(option) for option in re.findall(r"`(--[a-z.]+ \S[^`]*)`", text)]
    assert ["--preprocessing.size", "[256,256]"] in options
    words = [
        underscored(word) for option in options if "scores" not in option[1] for word in option
    ]
    parsed = make_parser(VERBS).parse_args(["explain", "new", *words])
    assert parsed.explain.preprocessing.mean == (0.485, 0.456, 0.406)


@pytest.mark.slow
@pytest.mark.parametrize("guide", NAMES)
def test_runs_as_written(guide: str, tmp_path: Path) -> None:
    missing = [name for name in ("onnx2torch", "onnxruntime", "mlxtend") if not _installed(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    script = []
    for kind, text in [*blocks("README"), *blocks(guide)]:
        named = re.match(r"# (\w+\.py)\n", text)
        if kind == "python" and named:
            (tmp_path / named[1]).write_text(text)
        elif kind == "python":
            script.append(text)
        elif kind == "sh":
            script += [f"_run({command!r})" for command in commands(text)]
    (tmp_path / "guide.py").write_text(_RUN + "\n".join(script))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [sys.executable, "guide.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    for text in (text for kind, text in blocks(guide) if kind == "sh"):
        for out in re.findall(r"--out (\w+)", text):
            assert (tmp_path / out / "report.html").is_file()
            assert (tmp_path / out / "explanation.json").is_file()


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
