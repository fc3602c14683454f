"""ifnormal fit: fit what makes the counterfactuals to the run's detector."""

from __future__ import annotations

from jsonargparse import ArgumentParser

from ifnormal.cli.help import arrange
from ifnormal.cli.verb import Options, Verb, add_config, add_resume, add_run, editor_config
from ifnormal.config import DiffusionConfig, FitConfig, diffusion_config, fit_config
from ifnormal.config.editors import EditorConfig

_SECTIONS = {
    "main options": "run resume seed generator fit.concepts fit.steps fit.batch_size "
    "fit.learning_rate fit.precision fit.augment fit.surrogate.query_budget",
    "diffusion model": "backbone prompt source_prompt tiny_decoder",
}


def _fit(options: Options) -> None:
    config, editor = fit_config(options["fit"]), editor_config(options)
    diffusion = diffusion_config(options["diffusion"])
    editor.require_backbone()
    from ifnormal.jobs.stages import fit_stage

    fit_stage(options["run"], config, options["seed"], options["resume"], editor, diffusion)
    print(f"Explainer: {options['run'] / 'explainer'}")


def _add_options(parser: ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--seed", type=int, help="seed of the training; the default is the seed of the run"
    )
    add_resume(parser)
    add_config(parser, EditorConfig)
    parser.add_class_arguments(FitConfig, "fit")
    parser.add_class_arguments(DiffusionConfig, "diffusion")
    arrange(parser, _SECTIONS)


VERB = Verb(
    _fit,
    _add_options,
    "[--run DIR] [--resume] [options]",
    "fit what makes the counterfactuals to the run's detector",
    resumable=True,
)
