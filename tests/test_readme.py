"""What README.md and docs/ say to type works: commands and examples are run, if only in small."""

from __future__ import annotations

import os
import re
import shlex
import warnings
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

import ifnormal
from ifnormal import cli
from ifnormal.cli.parsing import make_parser, underscored
from ifnormal.common.pixels import to_pil
from ifnormal.config import DataConfig, DetectorConfig, FitConfig, GeneratorConfig
from ifnormal.evaluation import METRICS
from ifnormal.explainers.explainer import Explainer
from ifnormal.explanation.document import read_document
from ifnormal.explanation.explanation import Explanation
from tiny_runs import SMALL, shrink

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {
    "README.md": README,
    **{
        f"docs/{name}.md": (ROOT / "docs" / f"{name}.md").read_text()
        for name in ("command-line", "python", "figures", "method")
    },
}
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def blocks(language: str) -> list[str]:
    text = "".join(PAGES.values())
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
    return [block for known, block in fenced if known == language]


TEXTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("studies/*.md")]
COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line]
# Commands that the fast tests cannot run as they are, each with a test of its own below.
MAKE = ["make demo", "make test"]
PIP = ["pip install .", 'pip install ".[demo]"']
OWN = ["ifnormal explain flagged --detector model.onnx --normal normal --out explained"]
FULL_DATA = ["ifnormal demo --data-root datasets --budget paper --out runs/paper"]
BENCH = [
    "ifnormal bench list",
    "ifnormal bench run paper --only 'mnist/*' --detectors bce --data-root datasets",
    "ifnormal bench table runs/bench/paper",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_synthetic: None) -> Path:
    """A newcomer's folder with a few photos, and runs of seconds."""
    shrink(monkeypatch)
    monkeypatch.delenv("IFNORMAL_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("photo.png", "photos/one.png", "photos/two.png"):
        photo = torch.randint(256, (3, 48, 40)).to(torch.uint8)
        to_pil(photo).save(tmp_path / name)
    for name, count, brightest in (("normal", 30, 90), ("flagged", 4, 256)):
        (tmp_path / name).mkdir()
        for number, image in enumerate(torch.randint(brightest, (count, 3, 32, 32))):
            to_pil(image.to(torch.uint8)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def run_small(command: str) -> None:
    """Run a command of ours with the few steps and images of the tests."""
    program, verb, *options = shlex.split(command)
    assert program == "ifnormal"
    fits = "fit" if "--detector" in options else verb
    assert cli.main([verb, *options, *SMALL.get(fits, [])]) == 0, command


def test_no_command_is_left_out() -> None:
    special = {*PIP, *FULL_DATA, *OWN, *BENCH}
    assert special <= set(COMMANDS), "these are no longer in README.md and docs/"
    others = [line for line in COMMANDS if line not in special]
    assert others
    assert all(line.startswith("ifnormal ") for line in others), "say here how these are tested"


def test_commands_of_ours(folder: Path) -> None:
    for command in dict.fromkeys(COMMANDS):
        if command.startswith("ifnormal") and command not in {*FULL_DATA, *OWN, *BENCH}:
            run_small(command)
    assert (folder / "runs" / "demo" / "report.html").is_file(), "where README.md says it is"
    tree = next(block for block in blocks("") if "report.html" in block)
    listed = re.findall(r"^([a-z]+[./]\S*) ", tree, re.M)
    assert "report.html" in listed
    assert [name for name in listed if not (folder / "runs" / "mine" / name).exists()] == []
    assert read_document(folder / "runs" / "photos").counts.images == 3
    assert (folder / "runs" / "photos" / "report.html").is_file()


def test_a_detector_of_ones_own(folder: Path) -> None:
    """The command for one's own detector, with a network that scores brightness."""
    if find_spec("onnx2torch") is None:
        pytest.skip("needs the extra onnx")
    net = torch.nn.Sequential(torch.nn.AvgPool2d(32), torch.nn.Conv2d(3, 1, 1), torch.nn.Flatten())
    torch.nn.init.constant_(net[1].weight, 1.0)
    example = (torch.rand(2, 3, 32, 32),)
    batch = ({0: torch.export.Dim("batch")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch grumbles at its own export
        torch.onnx.export(net, example, "model.onnx", dynamic_shapes=batch, dynamo=True)
    for command in OWN:
        run_small(command)
    counts = read_document(folder / "explained").counts
    assert counts.flagged == counts.explained == 4
    assert (folder / "explained" / "report.html").is_file()


def test_make(folder: Path) -> None:
    """The targets that README.md and CONTRIBUTING.md name are there; `make demo` works in small."""
    assert "`make demo`" in README
    assert all(re.search(rf"^{command} ", CONTRIBUTING, re.M) for command in MAKE)
    rules = re.findall(r"^(\w+):.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)
    recipes = dict(rules)
    assert {command.split()[1] for command in MAKE} <= set(recipes)
    demo = recipes["demo"].strip().replace("$(BIN)/", "").replace(" $(ARGS)", "")
    run_small(f"{demo} --budget smoke")
    assert (folder / "runs" / "demo" / "report.html").is_file()
    assert "`runs/demo/report.html`" in README


def test_extras_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    table = re.findall(
        r"^\| `(\w+)` \|", README.partition("| extra |")[2].partition("\n\n")[0], re.M
    )
    assert {"demo", "onnx", "app", "hub"} <= set(table)
    for extra in table:
        assert re.search(rf"^{extra} = \[", project, re.M)


def test_the_list_of_setups(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(shlex.split(BENCH[0])[1:]) == 0
    count = re.search(r"(\d+) setups", capsys.readouterr().out)
    assert count is not None
    assert f"{count[1]} setups, described by cards" in PAGES["docs/command-line.md"]


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("IFNORMAL_DATA"), reason="IFNORMAL_DATA is not set")
def test_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("datasets").symlink_to(os.environ["IFNORMAL_DATA"], target_is_directory=True)
    _, run, table = (shlex.split(command)[1:] for command in BENCH)
    run[run.index("mnist/*")] = "mnist/one-vs-rest/7"
    tiny = ["detector.steps=3", "fit.steps=2", "judge_steps=3", "data.test_images=20"]
    assert cli.main([*run, "--set", *tiny]) == 0
    assert cli.main(table) == 0


@pytest.mark.parametrize("command", FULL_DATA)
def test_options_for_the_full_data(command: str) -> None:
    arguments = [underscored(word) for word in shlex.split(command)[1:]]
    parsed = make_parser(cli.VERBS).parse_args(arguments)
    assert parsed.demo.data_root == Path("datasets")


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("IFNORMAL_DATA"), reason="IFNORMAL_DATA is not set")
@pytest.mark.parametrize("command", FULL_DATA)
def test_the_full_data(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("datasets").symlink_to(os.environ["IFNORMAL_DATA"], target_is_directory=True)
    run_small(command)


@pytest.mark.parametrize("example", blocks("python"))
def test_example(example: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small: dict[str, Any] = {
        "DataConfig": partial(DataConfig, drawings=200, outliers=64),
        "DetectorConfig": partial(DetectorConfig, steps=30, batch_size=32, width=8),
        "FitConfig": partial(
            FitConfig,
            steps=4,
            batch_size=8,
            generator=GeneratorConfig(width=4, inner_blocks=1),
            discriminator_width=4,
        ),
    }
    usual = small["FitConfig"]()
    small["Explainer"] = lambda detector, config=usual: Explainer(detector, config)
    for name, smaller in small.items():
        monkeypatch.setattr(ifnormal, name, smaller, raising=False)
    known: dict[str, Any] = {}
    exec(compile(example, "an example", "exec"), known)
    explanation = known["explanation"]
    assert len(explanation) == (4 if "brightness" in known else 12)
    if (folder / "explained").exists():
        assert len(Explanation.load(folder / "explained")) == len(explanation)


def test_every_figure_is_explained() -> None:
    section = (
        PAGES["docs/figures.md"].partition("## What each figure asks")[2].partition("\n## ")[0]
    )
    plain = {"judge_accuracy", "wall_clock_s", "images_per_s"}  # clear by their names
    missing = [m.title for m in METRICS.values() if m.key not in plain and m.title not in section]
    assert missing == []


@pytest.mark.parametrize("page", sorted(path.relative_to(ROOT).as_posix() for path in TEXTS))
def test_what_a_page_points_to_exists(page: str) -> None:
    """Files, and headings of pages as a browser names them."""
    path = ROOT / page
    text = path.read_text()
    files = [ROOT / name for name in re.findall(r"`((?:src|studies|tests)/[^`*]+)`", text)]
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        file = path.parent / target if target else path
        files.append(file)
        if heading and file.exists():
            assert heading in headings(file.read_text()), f"{target}#{heading}"
    assert [str(file) for file in files if not file.exists()] == []


def headings(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_can_be_read_in_one_go() -> None:
    assert len(README.splitlines()) <= 250


def test_the_tables_of_the_evaluation_are_those_of_the_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "studies")
    tables = import_module("evaluation_tables")
    for (name, block), table in tables.texts().items():
        text = (ROOT / name).read_text()
        assert text.count(f"<!-- {block}:begin -->\n{table}<!-- {block}:end -->") == 1, (
            "run python studies/evaluation_tables.py"
        )
