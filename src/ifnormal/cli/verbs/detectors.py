"""ifnormal detectors: the kinds of detectors that can be explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from jsonargparse import ArgumentParser

from ifnormal.cli.verb import Options, Verb
from ifnormal.config import Objective

if TYPE_CHECKING:
    from ifnormal.detectors.adapted.adapters import Adapter

_IN_PYTHON = "(in Python, or by its name)"


def _detectors(options: Options) -> None:
    from ifnormal.detectors.adapted.adapters import ADAPTERS

    rows = [(adapter.spec or _IN_PYTHON, _told(adapter)) for adapter in ADAPTERS]
    rows.append(("FOLDER", ["trained detector: what train-detector wrote, or an explainer saved"]))
    rows.append(("KIND", [f"trained on the images of --normal: {', '.join(get_args(Objective))}"]))
    width = max(len(spec) for spec, _ in rows)
    for spec, lines in rows:
        for number, line in enumerate(lines):
            print(f"{spec if number == 0 else '':{width}}  {line}")
    print(f"\nWhat is {_IN_PYTHON} has the SPEC package.module:attribute on the command line.")


def _told(adapter: Adapter) -> list[str]:
    """What an adapter is for and what it needs, in lines."""
    lines = [f"{adapter.name}: {adapter.meaning}"]
    if adapter.why_trust:
        lines.append(f"  needs --trust, because {adapter.why_trust}")
    if adapter.packages:
        missing = adapter.missing()
        state = f"{', '.join(missing)} not installed" if missing else "installed"
        lines.append(f'  needs pip install "ifnormal[{adapter.extra}]" ({state})')
    return lines


def _add_options(parser: ArgumentParser) -> None:
    del parser


VERB = Verb(_detectors, _add_options, "", "list the kinds of detectors that can be explained")
