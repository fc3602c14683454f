"""The command line: help at once, one sentence for every mistake, verbs that call the stages."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ifnormal
from ifnormal import cli
from ifnormal.cli import main, parsing
from ifnormal.cli.figures import show_figures
from ifnormal.cli.help import with_dashes
from ifnormal.cli.verb import Verb
from ifnormal.common.errors import DivergenceError
from ifnormal.config import (
    DataConfig,
    DemoConfig,
    DetectorConfig,
    FitConfig,
    data_config,
    fit_config,
)

VERBS = ["demo", "train-detector", "fit", "explain", "evaluate", "report"]


@pytest.fixture(autouse=True)
def _no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IFNORMAL_DATA", raising=False)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Verbs only note the options they are called with."""
    called: dict[str, dict[str, Any]] = {}
    for name, verb in cli.VERBS.items():
        noted = Verb(
            lambda options, name=name: called.update({name: dict(options)}),  # type: ignore[misc]
            verb.add_options,
            verb.usage,
            verb.help,
            verb.resumable,
        )
        monkeypatch.setitem(cli.VERBS, name, noted)
    return called


def told(arguments: str, capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """The one sentence that these arguments are answered with."""
    assert main(arguments.split()) == code
    output = capsys.readouterr()
    assert output.out == ""
    sentence = output.err
    assert sentence.startswith("ifnormal: ")
    assert sentence.endswith(".\n")
    assert sentence.count("\n") == 1
    assert "Traceback" not in sentence
    return sentence.removeprefix("ifnormal: ").rstrip()


# A help loads what it needs to parse options, and nothing that computes or draws.
HEAVY = {"torch", "numpy", "lightning_fabric", "torchmetrics", "PIL", "jinja2", "rich", "ray"}


class TestHelp:
    @pytest.mark.parametrize("arguments", [[], *([verb] for verb in VERBS)])
    def test_answers_at_once_and_without_torch(self, arguments: list[str]) -> None:
        """In processor time: what else the machine does is no concern of ours."""
        code = (
            "import sys, time; from ifnormal.cli import main; code = main(sys.argv[1:]); "
            f"print(time.process_time(), *({HEAVY!r} & sys.modules.keys()), file=sys.stderr); "
            "sys.exit(code)"
        )
        command = [sys.executable, "-c", code, *arguments, "--help"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        seconds, *loaded = done.stderr.split()
        assert loaded == []
        assert float(seconds) < 1
        assert done.stdout.startswith("usage: ifnormal")

    @pytest.mark.parametrize(("arguments", "added"), [("--help", []), ("fit --help", ["fit"])])
    def test_adds_only_the_options_it_shows(
        self, arguments: str, added: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The options of all verbs together would take longer than all else."""
        asked: list[str] = []
        for name, verb in cli.VERBS.items():
            noted = replace(verb, add_options=lambda _, name=name: asked.append(name))
            monkeypatch.setitem(cli.VERBS, name, noted)
        assert main(arguments.split()) == 0
        assert asked == added

    def test_begins_with_the_ten_options_that_people_need(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["explain", "--help"]) == 0
        text = capsys.readouterr().out
        titles = re.findall(r"^([a-z].*):$", text, re.M)
        expected = ["main options", "images", "detector", "generator", "output", "help"]
        assert titles == expected
        first = text.partition("main options:")[2].partition("\n\n")[0]
        assert len(re.findall(r"^  [A-Z-]", first, re.M)) == 10
        assert "--help-all" in text
        assert "--fit.steps" not in text

    @pytest.mark.parametrize("verb", ["explain", "fit", "train-detector", "train-backbone"])
    def test_help_all_lists_every_option_once(
        self, verb: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        parser = cli.make_parser({verb: cli.VERBS[verb]})
        actions = parser._subcommands_action.choices[verb]._actions
        named = [action.option_strings for action in actions if action.option_strings]
        options = {with_dashes(names[0]) for names in named if "--help" not in names}
        assert main([verb, "--help-all"]) == 0
        listed = re.findall(r"^  (?:-h, )?(--[\w.-]+)", capsys.readouterr().out, re.M)
        assert sorted(listed) == sorted({*options, "--help"})
        assert main([verb, "--help"]) == 0
        text = capsys.readouterr().out
        shown = re.findall(r"^  (?:-h, )?(--[\w.-]+)", text, re.M)
        hidden = re.search(
            r"^(\d+) advanced options \(--.*\.\*\) are listed by --help-all", text, re.M
        )
        assert hidden is not None
        assert len(shown) + int(hidden[1]) == len(listed)
        assert len(shown) < 40

    def test_lists_every_verb(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--help"]) == 0
        text = capsys.readouterr().out
        assert [verb for verb in VERBS if re.search(rf"^    {verb}\b", text, re.M)] == VERBS

    @pytest.mark.parametrize("verb", VERBS)
    def test_explains_every_option(self, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([verb, "--help"]) == 0
        if "--help-all" in capsys.readouterr().out:
            assert main([verb, "--help-all"]) == 0
        else:
            assert main([verb, "--help"]) == 0
        text = capsys.readouterr().out
        assert not re.search(r"--[\w.]*_", text), "options are written with dashes"
        assert "<class" not in text
        entries = re.split(r"\n  (?=--|[A-Z]+\b)", text)[1:]
        unexplained = [entry for entry in entries if not re.search(r"[a-z]{2,} [a-z]", entry)]
        assert unexplained == []

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--version"]) == 0
        assert capsys.readouterr().out == f"ifnormal {ifnormal.__version__}\n"

    def test_as_a_module(self) -> None:
        command = [sys.executable, "-m", "ifnormal", "--version"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert done.stdout == f"ifnormal {ifnormal.__version__}\n"


class TestOptions:
    def test_defaults_are_those_of_the_dataclasses(self, called: dict[str, Any]) -> None:
        for verb in VERBS:
            assert main([verb]) == 0
        assert called["demo"].pop("prompt") is None, "can be given several times"
        assert DemoConfig(**called["demo"]) == DemoConfig()
        assert data_config(called["train-detector"]["data"]) == DataConfig()
        assert DetectorConfig(**called["train-detector"]["detector"]) == DetectorConfig()
        assert fit_config(called["fit"]["fit"]) == FitConfig()
        assert {verb: called[verb]["run"] for verb in VERBS[1:]} == dict.fromkeys(
            VERBS[1:], Path("runs/demo")
        )
        assert called["fit"]["seed"] is None, "the run's"

    @pytest.mark.parametrize("style", ["--fit.batch-size", "--fit.batch_size"])
    def test_dashes_and_underscores(self, called: dict[str, Any], style: str) -> None:
        assert main(["fit", style, "7"]) == 0
        assert main(["fit", f"{style}=8", "--run", "a_b-c"]) == 0
        assert called["fit"]["fit"]["batch_size"] == 8
        assert called["fit"]["run"] == Path("a_b-c"), "values stay as they are"

    def test_nested_options(self, called: dict[str, Any]) -> None:
        arguments = "fit --fit.weights.gan 0 --fit.generator.width 8 --fit.conditional false"
        assert main([*arguments.split(), "--seed", "4", "--resume"]) == 0
        options = called["fit"]
        assert (options["seed"], options["resume"]) == (4, True)
        config = fit_config(options["fit"])
        assert (config.weights.gan, config.generator.width, config.conditional) == (0, 8, False)

    def test_a_file_of_options(self, called: dict[str, Any], tmp_path: Path) -> None:
        (tmp_path / "fit.json").write_text(json.dumps({"steps": 3, "weights": {"gan": 2.5}}))
        assert main(["fit", "--fit", str(tmp_path / "fit.json"), "--fit.steps", "4"]) == 0
        config = fit_config(called["fit"]["fit"])
        assert (config.steps, config.weights.gan) == (4, 2.5)

    def test_a_run_may_be_called_out_where_it_begins(self, called: dict[str, Any]) -> None:
        assert main(["train-detector", "--out", "x"]) == 0
        assert called["train-detector"]["run"] == Path("x")

    def test_images(self, called: dict[str, Any]) -> None:
        assert main(["explain", "a.png", "b", "--run", "r", "--out", "o"]) == 0
        told = called["explain"]
        assert (told["images"], told["run"]) == ([Path("a.png"), Path("b")], Path("r"))
        assert told["out"] == Path("o")
        assert main(["explain"]) == 0
        assert called["explain"]["images"] == []


class TestData:
    def root(self, called: dict[str, Any]) -> tuple[Path | None, Path | None]:
        data = data_config(called["train-detector"]["data"])
        return called["demo"]["data_root"], data.data_root

    def test_the_variable_is_the_default(
        self, called: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IFNORMAL_DATA", "somewhere")
        assert main(["demo"]) == main(["train-detector"]) == 0
        assert self.root(called) == (Path("somewhere"), Path("somewhere"))

    def test_an_option_overrides_it(
        self, called: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IFNORMAL_DATA", "somewhere")
        assert main(["demo", "--data-root", "else"]) == 0
        assert main(["train-detector", "--data.data-root", "null"]) == 0
        assert self.root(called) == (Path("else"), None)

    def test_an_empty_one_is_none(
        self, called: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IFNORMAL_DATA", "")
        assert main(["demo"]) == main(["train-detector"]) == 0
        assert self.root(called) == (None, None)

    @pytest.mark.parametrize("verb", ["demo", "train-detector"])
    def test_a_wrong_one_is_named(
        self, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("IFNORMAL_DATA", "/no/such/folder")
        sentence = told(verb, capsys)
        assert "/no/such/folder is no folder" in sentence
        assert "IFNORMAL_DATA" in sentence

    def test_the_library_does_not_look_at_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("IFNORMAL_DATA", "somewhere")
        assert DataConfig().data_root is None
        assert DemoConfig().data_root is None


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ("", "Name one of the verbs demo, train-backbone,"),
            ("destroy", "There is no verb 'destroy'; choose one of demo, train-backbone,"),
            ("--speed", "The command ifnormal does not take --speed; see ifnormal --help."),
            ("demo --objective bec", "--objective must be one of bce, hsc, dsvdd, fcdd"),
            ("demo --obj bce", "The verb demo does not take --obj; see ifnormal demo --help."),
            ("demo stray", "The verb demo does not take stray; see ifnormal demo --help."),
            ("demo --seed few", "--seed must be a whole number, not 'few'; see ifnormal demo"),
            ("demo --seed", "--seed needs a value; see ifnormal demo --help."),
            ("demo --seed -1", "seed must lie between 0 and 4294967295."),
            ("demo --concepts 0", "concepts must be at least 1."),
            ("demo --resume=yes", "ifnormal demo --help."),
            ("train-detector --seed 99999999999", "seed must lie between 0 and 4294967295."),
            ("train-detector --detector.steps 1.5", "--detector.steps must be a whole number, not"),
            ("train-detector --data.normal-digit 10", "normal_digit must be between 0 and 9."),
            ("fit --fit.generator-loss log", "--fit.generator-loss must be one of linear, hinge,"),
            ("fit --fit.weights.gan much", "--fit.weights.gan must be a number, not 'much'; see"),
            ("fit --fit.conditional maybe", "--fit.conditional must be true or false, not 'maybe'"),
            ("fit --fit.weights.gan -1", "weight gan must be 0 or positive and finite."),
            ("fit --fit /no/file", "--fit takes a YAML or JSON file of options, which"),
            ('fit --fit {"stes":1}', "see ifnormal fit --help."),
            ("fit --run /no/run", "/no/run is no folder of a run; make one with ifnormal train-"),
            ("explain --run /no/run", "/no/run is no folder of a run; make one with ifnormal"),
            ("evaluate --run /no/run", "/no/run is no folder of a run; make one with ifnormal"),
            ("report /no/run", "/no/run/explanation/explanation.json does not exist; name"),
            ("demo --out /dev/null", "The folder /dev/null cannot be written"),
            ("demo --out /dev/null/run", "The folder /dev/null/run cannot be written"),
            ("demo --data-root /no/data", "The data root /no/data is no folder; correct"),
        ],
    )
    def test_one_sentence(
        self, arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert sentence in told(arguments, capsys)

    def test_settings_of_the_data(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        begin = f"train-detector --run {tmp_path / 'run'}"
        assert "choose one of colored-mnist" in told(f"{begin} --data.setup cats", capsys)
        assert "choose one of red," in told(f"{begin} --data.normal-color mauve", capsys)
        assert "no folder mnist" in told(f"{begin} --data.data-root {tmp_path}", capsys)

    @pytest.mark.parametrize(
        ("extra", "package", "root"), [("demo", "mlxtend", None), ("parquet", "pyarrow", "data")]
    )
    def test_a_missing_extra(
        self,
        extra: str,
        package: str,
        root: str | None,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr("ifnormal.data.sources.digits.find_spec", lambda name: None)
        for name in [name for name in sys.modules if name.split(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)
        (tmp_path / "data" / "mnist").mkdir(parents=True)
        (tmp_path / "data" / "mnist" / "train-00000-of-00001.parquet").touch()
        arguments = f"demo --out {tmp_path / 'run'}"
        sentence = told(f"{arguments} --data-root {tmp_path / root}" if root else arguments, capsys)
        assert f"ifnormal[{extra}]" in sentence

    def test_an_unforeseen_parser_message_still_becomes_a_sentence(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def refuse(*_: object) -> None:
            raise argparse.ArgumentError(None, "something\n  odd in --fit.batch_size.")

        monkeypatch.setattr(parsing.Parser, "parse_args", refuse)
        sentence = told("fit", capsys)
        assert sentence == "Something odd in --fit.batch-size; see ifnormal fit --help."


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch, verb: str = "demo") -> None:
    def fail(options: object) -> None:
        raise error

    old = cli.VERBS[verb]
    new = Verb(fail, old.add_options, old.usage, old.help, old.resumable)
    monkeypatch.setitem(cli.VERBS, verb, new)


class TestTrouble:
    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            (DivergenceError("It became nan."), "It became nan."),
            (OSError(28, "No space left on device"), "A file cannot be used (No space left on"),
            (PermissionError(13, "Permission denied", "a/b"), "a/b cannot be used (Permission"),
        ],
    )
    def test_while_working(
        self,
        error: BaseException,
        sentence: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        failing(error, monkeypatch)
        assert sentence in told("demo", capsys)

    def test_a_bug_of_ours_is_not_hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        failing(ZeroDivisionError(), monkeypatch)
        with pytest.raises(ZeroDivisionError):
            main(["demo"])

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (
                "demo --out runs/a --seed 3",
                "Stopped; ifnormal demo --out runs/a --seed 3 --resume goes on from the last "
                "checkpoint.",
            ),
            ("fit --resume", "Stopped; ifnormal fit --resume goes on from the last checkpoint."),
            ("evaluate", "Stopped; give the same command again to do it anew."),
        ],
    )
    def test_interrupted(
        self,
        arguments: str,
        sentence: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        failing(KeyboardInterrupt(), monkeypatch, arguments.split()[0])
        assert told(arguments, capsys, 130) == sentence

    @pytest.mark.parametrize("arguments", [["--version"], ["fit", "--help"]])
    def test_a_reader_that_leaves(self, arguments: list[str]) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "ifnormal", *arguments]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=120)
        os.close(writing)
        assert done.stderr == b""
        assert done.returncode in (0, 1), "argparse may have met the closed pipe before us"

    def test_a_terminal_that_knows_no_arrows(self) -> None:
        code = "from ifnormal.cli.figures import show_figures as show; "
        code += "show({'validity': [1, 2], 'total_s': 3})"
        code = f"import ifnormal.cli as cli, sys; cli._run = lambda _: exec({code!r}); cli.main([])"
        environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, env=environment, timeout=300)
        assert done.stderr == b""
        assert b"Total time: 3.0 s" in done.stdout


def test_figures_are_shown_beside_the_papers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    show_figures({"normality_auroc": 61.25, "validity": [90.0, 70.0], "total_s": 83.0})
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "61.2 % 55.6 %" in text
    assert "80.0 % (A 90.0 %, B 70.0 %)" in text
    assert "Total time: 1 min 23 s" in text


class TestNames:
    @pytest.mark.parametrize("name", ifnormal.__all__)
    def test_every_name_can_be_imported(self, name: str) -> None:
        assert getattr(ifnormal, name) is not None
        assert name in dir(ifnormal)

    def test_of_nothing_else(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = ifnormal.nothing
