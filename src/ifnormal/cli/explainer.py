"""The options of verbs that need an explainer, and loading it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from ifnormal.cli.verb import RUN, Options

if TYPE_CHECKING:
    from ifnormal.explainers.explainer import Explainer


def add_explainer(parser: ArgumentParser) -> None:
    """Add the options that name an explainer and its detector."""
    parser.add_argument(
        "--explainer",
        type=Path,
        default=RUN / "explainer",
        metavar="DIR",
        help="folder of an explainer, or of a run with an explainer",
    )
    parser.add_argument(
        "--detector",
        metavar="SPEC",
        help="the detector that the explainer was fitted to; the default is the one saved with it",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run the code inside a detector that is an exported program or TorchScript file",
    )


def load_explainer(options: Options) -> Explainer:
    """The explainer that the options name."""
    from ifnormal.explainers import loading

    return loading.load_explainer(options["explainer"], options["detector"], options["trust"])
