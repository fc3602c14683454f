"""ifnormal evaluate: measure the explanation of a run."""

from __future__ import annotations

from jsonargparse import ArgumentParser

from ifnormal.cli.figures import show_figures
from ifnormal.cli.verb import Options, Verb, add_run


def _options(parser: ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--features",
        choices=("auto", "own", "imagenet"),
        default="auto",
        help="features that distances such as FID are measured in: those of the independent judge, "
        "or of a network trained on ImageNet, by default the latter for photographs and without a "
        "judge",
    )


def _evaluate(options: Options) -> None:
    from ifnormal.jobs.stages import evaluate_stage

    show_figures(evaluate_stage(options["run"], features=options["features"]))
    print(f"Figures: {options['run'] / 'metrics.json'}")


VERB = Verb(
    _evaluate,
    _options,
    "[--run DIR] [--features auto|own|imagenet]",
    "measure how good the counterfactuals of the run's test anomalies are",
)
