"""ifnormal report: write a run as one HTML page."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser

from ifnormal.cli.verb import RUN, Options, Verb


def _report(options: Options) -> None:
    from ifnormal.jobs.stages import report_stage

    print(f"Report: {report_stage(options['run'], options['beside'])}")


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "run",
        nargs="?",
        type=Path,
        default=RUN,
        metavar="RUN",
        help="folder of a run, or another folder with an explanation in it",
    )
    parser.add_argument(
        "--beside",
        nargs="+",
        type=Path,
        default=[],
        metavar="OTHER",
        help="folders of runs by other methods, to show side by side with this one",
    )


VERB = Verb(
    _report,
    _add_options,
    "[RUN] [--beside OTHER ...]",
    "write a run as one self-contained page, report.html",
)
