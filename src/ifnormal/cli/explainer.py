"""The explainer that a verb works with: its options, and loading it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from ifnormal.cli.verb import RUN, Options
from ifnormal.common.errors import UserError

if TYPE_CHECKING:
    from ifnormal.explainers.explainer import Explainer


def add_explainer(parser: ArgumentParser) -> None:
    """Which explainer, and the detector it is for."""
    parser.add_argument(
        "--explainer",
        type=Path,
        default=RUN / "explainer",
        metavar="DIR",
        help="folder of the explainer, or of a run that holds one",
    )
    parser.add_argument(
        "--detector",
        metavar="SPEC",
        help="the detector it was fitted to; without it, the one that is saved with it",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run the code that a detector of an exported program or TorchScript file contains",
    )


def load_explainer(options: Options) -> Explainer:
    """The explainer that the options name."""
    from ifnormal.explainers import loading
    from ifnormal.explainers.explainer import Explainer

    folder = options["explainer"]
    explainer = loading.load_explainer(folder, options["detector"], options["trust"])
    if not isinstance(explainer, Explainer):
        raise UserError(
            f"The explainer in {folder} has a diffusion model, which this cannot use; name one "
            "with a pixel generator, or give images to ifnormal explain."
        )
    return explainer
