"""ifnormal demo: a whole run on Colored-MNIST."""

from __future__ import annotations

from jsonargparse import ArgumentParser

from ifnormal.cli.figures import show_figures
from ifnormal.cli.help import arrange
from ifnormal.cli.verb import Options, Verb, add_config, default_data_root, require_data_root
from ifnormal.config import DemoConfig

_SECTIONS = {
    "options": "out resume budget objective generator concepts seed data_root",
    "diffusion model": "backbone prompt source_prompt tiny_decoder",
}


def _demo(options: Options) -> None:
    config = DemoConfig(**{**options, "prompt": tuple(options["prompt"] or ())})
    require_data_root(config.data_root)
    from ifnormal.jobs.demo import demo

    report, metrics = demo(config)
    show_figures(metrics)
    if config.budget == "smoke":
        print("With the smoke budget the figures mean nothing; it shows that everything works.")
    print(f"Report: {report}")


def _add_options(parser: ArgumentParser) -> None:
    add_config(parser, DemoConfig)
    default_data_root(parser, "data_root")
    arrange(parser, _SECTIONS)


VERB = Verb(
    _demo,
    _add_options,
    "[--out DIR] [options]",
    "do a whole run on Colored-MNIST: detector, explainer, explanation, figures, report",
    resumable=True,
)
