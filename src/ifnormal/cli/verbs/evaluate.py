"""ifnormal evaluate: measure the explanation of a run."""

from __future__ import annotations

from ifnormal.cli.figures import show_figures
from ifnormal.cli.verb import Options, Verb, add_run


def _evaluate(options: Options) -> None:
    from ifnormal.stages import evaluate_stage

    show_figures(evaluate_stage(options["run"]))
    print(f"Figures: {options['run'] / 'metrics.json'}")


VERB = Verb(
    _evaluate,
    lambda parser: add_run(parser),
    "[--run DIR]",
    "measure the explanation of the run's test anomalies",
)
