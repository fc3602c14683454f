"""ifnormal fit: train the generator that explains the run's detector."""

from __future__ import annotations

from jsonargparse import ArgumentParser

from ifnormal.cli.help import arrange
from ifnormal.cli.verb import Options, Verb, add_resume, add_run
from ifnormal.config import FitConfig, fit_config

_SECTIONS = {
    "main options": "run resume seed fit.concepts fit.steps fit.batch_size fit.learning_rate "
    "fit.precision fit.augment fit.surrogate.query_budget",
}


def _fit(options: Options) -> None:
    config = fit_config(options["fit"])
    from ifnormal.jobs.stages import fit_stage

    fit_stage(options["run"], config, options["seed"], options["resume"])
    print(f"Explainer: {options['run'] / 'explainer'}")


def _add_options(parser: ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--seed", type=int, help="seed of the training; the default is the seed of the run"
    )
    add_resume(parser)
    parser.add_class_arguments(FitConfig, "fit")
    arrange(parser, _SECTIONS)


VERB = Verb(
    _fit,
    _add_options,
    "[--run DIR] [--resume] [options]",
    "train the generator that explains the run's detector",
    resumable=True,
)
