"""ifnormal explain: what would make these images normal?"""

from __future__ import annotations

from pathlib import Path

from jsonargparse import ArgumentParser

from ifnormal.cli.verb import Options, Verb, add_run


def _explain(options: Options) -> None:
    from ifnormal.stages import explain_stage, explanation_folder

    where = options["run"], options["images"], options["out"]
    explanation = explain_stage(*where)
    accepted, total = int(explanation.valid.sum()), explanation.valid.numel()
    print(f"The detector accepts {accepted} of {total} counterfactuals.")
    print(f"Explanation: {explanation_folder(*where)}")


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "images",
        nargs="*",
        type=Path,
        metavar="IMAGE",
        help="image files and folders of images; without any, the run's test anomalies",
    )
    add_run(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="explanation/ goes here; without it, into the run's folder, and for given images into "
        "its own-images/, of which ifnormal report makes a page",
    )


VERB = Verb(
    _explain,
    _add_options,
    "[IMAGE ...] [--run DIR] [--out DIR]",
    "explain the run's test anomalies, or images of yours",
)
