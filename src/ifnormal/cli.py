"""The command line: verbs only. It parses, calls a stage and says what came of it.

Options are the fields of the dataclasses in `config.py`. Nothing here loads torch before a verb is
called, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from ifnormal import __version__
from ifnormal.config import (
    DataConfig,
    DemoConfig,
    DetectorConfig,
    FitConfig,
    data_config,
    fit_config,
)
from ifnormal.errors import UserError

_RUN = Path("runs/demo")
_DATA = "IFNORMAL_DATA"
_FAILED, _INTERRUPTED, _BROKEN_PIPE = 2, 130, 1

Options = Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the arguments say.

    Returns:
        0, 2 after an error that was told in one sentence, or 130 after an interruption.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an old terminal may not know our arrows
    try:
        _run(arguments)
        sys.stdout.flush()
    except UserError as error:
        return _fail(str(error), _FAILED)
    except KeyboardInterrupt:
        return _fail(_how_to_go_on(arguments), _INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python must not meet the pipe again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        named = error.filename or "A file"
        reason = error.strerror or error
        return _fail(
            f"{named} cannot be used ({reason}); put that right or name another folder.", _FAILED
        )
    return 0


def _run(arguments: Sequence[str]) -> None:
    try:
        parsed = _parser().parse_args([_underscored(argument) for argument in arguments])
    except SystemExit:  # --help and --version have answered
        return
    except argparse.ArgumentError as error:
        raise UserError(_sentence(str(error), arguments)) from None
    if parsed.verb is None:
        raise UserError(f"Name one of the verbs {', '.join(_VERBS)}; see ifnormal --help.")
    _VERBS[parsed.verb].call(_values(parsed[parsed.verb].as_dict()))


def _values(options: Options) -> dict[str, Any]:
    """The options without the parser's own notes, such as the file they are from."""
    return {
        name: _values(value) if isinstance(value, dict) else value
        for name, value in options.items()
        if not name.startswith("__")
    }


def _fail(sentence: str, code: int) -> int:
    print(f"ifnormal: {' '.join(sentence.split())}", file=sys.stderr)
    return code


# What the verbs do.


def _demo(options: Options) -> None:
    config = DemoConfig(**options)
    _require_data_root(config.data_root)
    from ifnormal.demo import demo

    report, metrics = demo(config)
    _show_figures(metrics)
    if config.budget == "smoke":
        print("With the smoke budget the figures mean nothing; it shows that everything works.")
    print(f"Report: {report}")


def _train_detector(options: Options) -> None:
    data, detector = data_config(options["data"]), DetectorConfig(**options["detector"])
    _require_data_root(data.data_root)
    from ifnormal.stages import train_detector_stage

    train_detector_stage(options["run"], data, detector, options["seed"])
    print(f"Detector: {options['run'] / 'detector'}")


def _fit(options: Options) -> None:
    config = fit_config(options["fit"])
    from ifnormal.stages import fit_stage

    fit_stage(options["run"], config, options["seed"], options["resume"])
    print(f"Explainer: {options['run'] / 'explainer'}")


def _explain(options: Options) -> None:
    from ifnormal.stages import explain_stage, explanation_folder

    where = options["run"], options["images"], options["out"]
    explanation = explain_stage(*where)
    accepted, total = int(explanation.valid.sum()), explanation.valid.numel()
    print(f"The detector accepts {accepted} of {total} counterfactuals.")
    print(f"Explanation: {explanation_folder(*where)}")


def _evaluate(options: Options) -> None:
    from ifnormal.stages import evaluate_stage

    _show_figures(evaluate_stage(options["run"]))
    print(f"Figures: {options['run'] / 'metrics.json'}")


def _report(options: Options) -> None:
    from ifnormal.stages import report_stage

    print(f"Report: {report_stage(options['run'])}")


def _show_figures(metrics: Options) -> None:
    """The figures beside the paper's, and the total time."""
    from rich.console import Console
    from rich.table import Column, Table

    from ifnormal.metrics import METRICS
    from ifnormal.report.figures import make_rows
    from ifnormal.report.wording import duration

    table = Table(*(Column(name, overflow="fold") for name in ("figure", "better", "here")))
    table.add_column("paper, BCE")
    for row in make_rows(metrics, METRICS):
        each = ", ".join(f"{letter} {value}" for letter, value in row.parts)
        paper = f"{row.paper} ({row.caution})" if row.caution else row.paper
        here = f"{row.value} ({each})" if each else row.value
        table.add_row(row.title, f"{row.arrow} {row.aim}", here, paper)
    Console(markup=False, highlight=False).print(table)
    if "total_s" in metrics:
        print(f"Total time: {duration(metrics['total_s'])}")


# What the verbs are told.


def _demo_options(parser: ArgumentParser) -> None:
    parser.add_class_arguments(DemoConfig, skip={"resume"})
    _add_resume(parser)
    _default_data_root(parser, "data_root")


def _train_detector_options(parser: ArgumentParser) -> None:
    _add_run(parser, "--run", "--out")
    parser.add_argument("--seed", type=int, default=0, help="makes the run repeatable")
    parser.add_class_arguments(DataConfig, "data")
    parser.add_class_arguments(DetectorConfig, "detector")
    _default_data_root(parser, "data.data_root")


def _fit_options(parser: ArgumentParser) -> None:
    _add_run(parser)
    parser.add_argument("--seed", type=int, help="of the training; without it, the run's")
    _add_resume(parser)
    parser.add_class_arguments(FitConfig, "fit")


def _explain_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "images",
        nargs="*",
        type=Path,
        metavar="IMAGE",
        help="image files and folders of images; without any, the run's test anomalies",
    )
    _add_run(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="explanation/ goes here; without it, into the run's folder, and for given images into "
        "its own-images/, of which ifnormal report makes a page",
    )


def _report_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "run",
        nargs="?",
        type=Path,
        default=_RUN,
        metavar="RUN",
        help="folder of a run, or any other that holds an explanation/",
    )


def _add_run(parser: ArgumentParser, *names: str) -> None:
    parser.add_argument(
        *(names or ("--run",)),
        dest="run",
        type=Path,
        default=_RUN,
        metavar="DIR",
        help="folder of the run",
    )


def _add_resume(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint of the same run"
    )


def _default_data_root(parser: ArgumentParser, key: str) -> None:
    if os.environ.get(_DATA):
        parser.set_defaults({key: Path(os.environ[_DATA])})


def _require_data_root(root: Path | None) -> None:
    if root is not None and not root.expanduser().is_dir():
        raise UserError(
            f"The data root {root} is no folder; correct the option data-root or the environment "
            f"variable {_DATA}, or give neither."
        )


@dataclass(frozen=True)
class _Verb:
    """What a verb does, what it is told, and its help."""

    call: Callable[[Options], None]
    add_options: Callable[[ArgumentParser], None]
    usage: str
    help: str
    resumable: bool = False


_VERBS = {
    "demo": _Verb(
        _demo,
        _demo_options,
        "[--out DIR] [options]",
        "the whole job on Colored-MNIST: detector, explainer, explanation, figures, report",
        resumable=True,
    ),
    "train-detector": _Verb(
        _train_detector,
        _train_detector_options,
        "[--run DIR] [options]",
        "begin a run: train a detector; what an earlier run left in the folder goes away",
    ),
    "fit": _Verb(
        _fit,
        _fit_options,
        "[--run DIR] [--resume] [options]",
        "train the generator that explains the run's detector",
        resumable=True,
    ),
    "explain": _Verb(
        _explain,
        _explain_options,
        "[IMAGE ...] [--run DIR] [--out DIR]",
        "explain the run's test anomalies, or images of yours",
    ),
    "evaluate": _Verb(
        _evaluate,
        lambda parser: _add_run(parser),
        "[--run DIR]",
        "measure the explanation of the run's test anomalies",
    ),
    "report": _Verb(
        _report,
        _report_options,
        "[RUN]",
        "tell a run as one self-contained page, report.html",
    ),
}


# Parsing.


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help with defaults, where there are any, and STEPS instead of FIT.STEPS for a value."""

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return super()._get_default_metavar_for_optional(action).rpartition(".")[2]

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


class _Parser(ArgumentParser):
    """Shows options with dashes; `_underscored` takes them back to the dataclasses' names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            exit_on_error=False, allow_abbrev=False, formatter_class=_Formatter, **options
        )

    def format_help(self, *arguments: Any, **options: Any) -> str:
        """The help, with dashes in the names of options."""
        return _with_dashes(super().format_help(*arguments, **options))


def _parser() -> ArgumentParser:
    parser = _Parser(
        prog="ifnormal",
        usage="ifnormal [-h] [--version] VERB ...",
        description="What would have to change in this image for the anomaly detector to call it "
        "normal?",
    )
    parser.add_argument("--version", action="version", version=f"ifnormal {__version__}")
    verbs = parser.add_subcommands(
        dest="verb",
        metavar="VERB",
        title="verbs",
        description="A run is a folder. demo makes one from end to end, the other verbs a part of "
        "it each; ifnormal VERB --help tells their options.",
        required=False,
    )
    for name, verb in _VERBS.items():
        options = _Parser(usage=f"ifnormal {name} {verb.usage}", description=f"{verb.help}.")
        verb.add_options(options)
        verbs.add_subcommand(name, options, help=verb.help)
    return parser


def _underscored(argument: str) -> str:
    """`--fit.batch-size=8` as `--fit.batch_size=8`; anything but an option as it is."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _with_dashes(text: str) -> str:
    return re.sub(r"--[\w.]+", lambda name: name[0].replace("_", "-"), text)


_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def _sentence(message: str, arguments: Sequence[str]) -> str:
    """The parser's complaint, which may fill several lines, as one sentence with a way out."""
    verb = next((argument for argument in arguments if argument in _VERBS), None)
    way_out = f"see ifnormal {verb} --help." if verb else "see ifnormal --help."
    text = " ".join(message.split())
    if found := re.match(r'Parser key "([\w.]+)": Expected an? (.+)\. Got value: (.*)', text):
        name, kind, value = found.groups()
        choices = re.findall(r"'([^']*)'", kind) if "Literal" in kind else []
        types = [words for known, words in _KINDS.items() if f"'{known}'" in kind]
        wanted = f"one of {', '.join(choices)}" if choices else " or ".join(types) or kind
        text = f"--{name} must be {wanted}, not {value!r}"
    elif found := re.match(r'Parser key "([\w.]+)": Unable to load config (\S+)', text):
        text = f"--{found[1]} takes a YAML or JSON file of options, which {found[2]} is not"
    elif found := re.match(r"argument VERB: invalid choice: '?([^' ]*)", text):
        text, way_out = f"There is no verb {found[1]!r}", f"choose one of {', '.join(_VERBS)}."
    elif found := re.match(r"unrecognized arguments: (\S+)", text):
        text = f"{f'The verb {verb}' if verb else 'The command ifnormal'} does not take {found[1]}"
    elif found := re.match(r"argument (\S+): expected (one|at least one) argument", text):
        text = f"{found[1]} needs a value"
    return _with_dashes(f"{text[:1].upper()}{text[1:].rstrip('.')}; {way_out}")


def _how_to_go_on(arguments: Sequence[str]) -> str:
    verb = next((argument for argument in arguments if argument in _VERBS), None)
    if verb is None or not _VERBS[verb].resumable:
        return "Stopped; give the same command again to do it anew."
    again = [argument for argument in arguments if argument != "--resume"]
    return f"Stopped; ifnormal {shlex.join(again)} --resume goes on from the last checkpoint."
