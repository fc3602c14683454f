"""ifnormal bench: the setups, experiments, sweeps and tables of the evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import ArgumentParser

from ifnormal.cli.help import arrange
from ifnormal.cli.parsing import subparser
from ifnormal.cli.verb import Options, Verb, add_data_root, require_data_root
from ifnormal.common.errors import UserError

if TYPE_CHECKING:
    from ifnormal.benchmarks.sweep import Engine, Swept

_OUT = Path("runs/bench")
_SHOWN = 6
_SECTIONS = {
    "what to run": "name out only budget seeds detectors generators set data_root",
    "where to run": "engine address jobs threads index of",
}


def _bench(options: Options) -> None:
    action = options["action"]
    if action is None:
        raise UserError(
            f"Name one of {', '.join(_ACTIONS)}, or an experiment; see ifnormal bench --help."
        )
    _ACTIONS[action][0](options[action])


def _list(options: Options) -> None:
    require_data_root(options["data_root"])
    from ifnormal.benchmarks.listing import listing

    pattern = options["only"] or "*"
    rows = [row for row in listing(options["data_root"]) if fnmatchcase(row["id"], pattern)]
    if options["json"]:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    ready = sum(row["available"] for row in rows)
    width = max((len(row["id"]) for row in rows), default=0)
    for row in rows:
        names = ", ".join(what.partition(":")[0] for what in row["missing"])
        print(f"{row['id']:{width}}  {'ready' if row['available'] else f'needs {names}'}")
    print(f"\n{len(rows)} setups, the data of {ready} {'is' if ready == 1 else 'are'} here.")
    lacking = list(dict.fromkeys(what for row in rows for what in row["missing"]))
    for what in lacking[:_SHOWN]:
        print(what)
    if len(lacking) > _SHOWN:
        print(f"{len(lacking) - _SHOWN} more are not here; --json tells how to get each.")


def _run(options: Options) -> None:
    require_data_root(options["data_root"])
    from ifnormal.benchmarks.engines.process import available_cores, share_cores
    from ifnormal.benchmarks.experiment import Selection, Workplace
    from ifnormal.benchmarks.sweep import Shard, sweep

    selection = Selection(
        only=options["only"],
        seeds=tuple(_numbers(options["seeds"])),
        detectors=tuple(_words(options["detectors"])),
        generators=tuple(_words(options["generators"])),
        budget=options["budget"],
    )
    shard = Shard(options["index"], options["of"])
    share = share_cores(options["jobs"], options["threads"], available_cores())
    name, root = options["name"], options["data_root"]
    out = options["out"] or _OUT / name.replace(":", ".")
    data = None if root is None else root.expanduser().absolute()
    missing = _missing(name, data)
    changed = _changed(options["set"] or [])
    swept = sweep(
        name, selection, Workplace(out, data), missing, share, shard, _engine(options), changed
    )
    _tell(swept, out, name)


def _tell(swept: Swept, out: Path, name: str) -> None:
    """Print where the results are; raise a UserError where a run failed, for the exit code."""
    counts = swept.counts
    if counts.get("elsewhere"):
        print(f"{counts['elsewhere']} runs are being done by another runner of this folder.")
    print(f"Runs: {out}")
    print(f"Tables: ifnormal bench table {out}")
    if swept.first_failure is not None:
        failed, run = counts["failed"], swept.first_failure.run
        raise UserError(
            f"{failed} run{'s' if failed > 1 else ''} failed, first {run} "
            f"({swept.first_failure.sentence.rstrip('.')}); {out}/{run.key}/traceback.txt has "
            "more, and the same command again tries once more."
        )
    if counts.get("stopped"):
        raise UserError(
            f"{counts['stopped']} runs were stopped from outside; the same command again goes on."
        )


def _table(options: Options) -> None:
    from ifnormal.benchmarks.sweep import draw_figures, write_tables
    from ifnormal.common.storage import write_atomic

    out = _folder(options["where"])
    text = write_tables(out, options["format"])
    for figure in draw_figures(out) if options["figures"] else ():
        print(f"Figure: {figure}")
    if options["output"] is None:
        print(text, end="")
    else:
        print(f"Tables: {write_atomic(options['output'], text)}")


def _experiments(options: Options) -> None:
    del options
    from ifnormal.benchmarks.experiments import EXPERIMENTS

    width = max(map(len, EXPERIMENTS))
    for name, experiment in EXPERIMENTS.items():
        print(f"{name:{width}}  {experiment.title} ({experiment.source})")


def _folder(where: str) -> Path:
    """The folder of this name, or the default folder of the experiment of this name."""
    given, default = Path(where), _OUT / where.replace(":", ".")
    return default if not given.exists() and default.is_dir() else given


def _engine(options: Options) -> Engine:
    if options["engine"] == "ray":
        from ifnormal.benchmarks.engines.ray import on_ray

        return on_ray(options["address"])
    if options["address"] is not None:
        raise UserError("--address needs the engine ray; add --engine ray or leave it out.")
    from ifnormal.benchmarks.engines.local import run_locally

    return run_locally


def _missing(name: str, data_root: Path | None) -> dict[str, str]:
    """Setups without data -> what is missing, those of the experiment itself included."""
    from ifnormal.benchmarks.experiments import experiment_named
    from ifnormal.benchmarks.listing import listing

    rows = listing(data_root)
    found = {row["id"]: "; ".join(row["missing"]) for row in rows if row["missing"]}
    return {**found, **experiment_named(name).missing(data_root)}


def _changed(settings: Sequence[str]) -> dict[str, Any]:
    """`fit.steps=300` as {"fit.steps": 300}."""
    changed: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not name or not equals:
            raise UserError(f"--set takes NAME=VALUE such as fit.steps=300, not {setting!r}.")
        try:
            changed[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            changed[name.replace("-", "_")] = value
    return changed


def _words(text: str) -> list[str]:
    return [word for word in text.replace(",", " ").split() if word]


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in _words(text)]
    except ValueError:
        raise UserError(f"--seeds takes whole numbers such as 0,1,2, not {text!r}.") from None


def _add_list(parser: ArgumentParser) -> None:
    _add_only(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON list, for programs")
    add_data_root(parser)


def _add_run(parser: ArgumentParser) -> None:
    parser.add_argument(
        "name",
        type=str,
        metavar="NAME",
        help="name of an experiment (ifnormal bench experiments lists them), or "
        "package.module:attribute of your own experiment",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the runs; the default is runs/bench/NAME",
    )
    _add_only(parser)
    parser.add_argument(
        "--budget",
        type=Literal["small", "paper"],
        default="small",
        help="length of the training: small takes minutes a run, paper as long as the paper",
    )
    parser.add_argument(
        "--seeds", type=str, default="0", metavar="0,1,2", help="seeds; each makes runs of its own"
    )
    parser.add_argument(
        "--detectors",
        type=str,
        default="",
        metavar="bce,hsc,dsvdd",
        help="objectives of the detectors; the default is those of the experiment",
    )
    parser.add_argument(
        "--generators",
        type=str,
        default="",
        metavar="pixel,inversion",
        help="what makes the counterfactuals; the default is the pixel generator, or those of the "
        "experiment",
    )
    parser.add_argument(
        "--set",
        type=str,
        nargs="+",
        metavar="NAME=VALUE",
        help="options of all runs, such as fit.steps=300; they override those of the budget",
    )
    parser.add_argument(
        "--engine",
        type=Literal["local", "ray"],
        default="local",
        help="local runs processes on this machine, ray uses a Ray cluster",
    )
    parser.add_argument(
        "--address",
        type=str,
        help="address of the Ray cluster; by default Ray finds or starts one",
    )
    parser.add_argument(
        "--jobs", type=int, help="number of runs at a time; the default is what the cores allow"
    )
    parser.add_argument(
        "--threads",
        type=int,
        help="processor threads of each run; the default is cores / jobs, or 2",
    )
    parser.add_argument(
        "--index",
        type=int,
        default=0,
        help="which part of the runs to do, counted from 0; for job arrays",
    )
    parser.add_argument(
        "--of", type=int, default=1, help="number of parts that the runs are split into"
    )
    add_data_root(parser)
    arrange(parser, _SECTIONS)


def _add_table(parser: ArgumentParser) -> None:
    parser.add_argument(
        "where",
        type=str,
        metavar="NAME|DIR",
        help="name of an experiment, or the folder of its runs",
    )
    parser.add_argument(
        "--format",
        type=Literal["md", "html", "json"],
        default="md",
        help="Markdown, a self-contained HTML page, or JSON for programs",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="file for the tables; the default is the screen"
    )
    parser.add_argument(
        "--figures", action="store_true", help="also draw the experiment's figures into figures/"
    )


def _add_experiments(parser: ArgumentParser) -> None:
    del parser


def _add_only(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--only", type=str, metavar="PATTERN", help="only setups that match, such as mnist/*"
    )


_ACTIONS = {
    "list": (
        _list,
        _add_list,
        "[--only PATTERN] [--json]",
        "list all setups, with what is missing",
    ),
    "run": (_run, _add_run, "NAME [options]", "do the runs of an experiment that are not done yet"),
    "table": (
        _table,
        _add_table,
        "NAME|DIR [--format md|html|json] [--output FILE]",
        "make tables from the runs that are done",
    ),
    "experiments": (_experiments, _add_experiments, "", "list the experiments"),
}


def _add_options(parser: ArgumentParser) -> None:
    actions = parser.add_subcommands(
        dest="action",
        metavar="ACTION",
        title="actions",
        description="ifnormal bench NAME is short for ifnormal bench run NAME.",
        required=False,
    )
    for name, (_, add, usage, said) in _ACTIONS.items():
        options = subparser(f"bench {name} {usage}", said)
        actions.add_subcommand(name, options, help=said)
        add(options)


def _with_action(arguments: Sequence[str]) -> list[str]:
    """`bench NAME` as `bench run NAME`."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in _ACTIONS:
        return ["run", *arguments]
    return list(arguments)


VERB = Verb(
    _bench,
    _add_options,
    "list|run|table|experiments|NAME [options]",
    "run the paper's evaluation: list its setups, do its experiments, make its tables",
    goes_on=True,
    rewrite=_with_action,
)
