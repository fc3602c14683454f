"""ifnormal explain: make counterfactuals of images."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from ifnormal.cli.help import arrange
from ifnormal.cli.verb import Options, Verb, add_config, add_images, add_run
from ifnormal.common.errors import UserError
from ifnormal.config import (
    DiffusionConfig,
    ExplainConfig,
    FitConfig,
    Preprocessing,
    diffusion_config,
    fit_config,
    preprocessing_config,
)

if TYPE_CHECKING:
    from ifnormal.explanation.totals import Counts
    from ifnormal.report.second_opinion import Acceptance

_OUT = Path("runs/explanation")
_SECTIONS = {
    "main options": "images detector normal outliers explainer run out generator threshold size",
    "images": "all min_score on_bad_image channels",
    "detector": "trust black_box expect higher_is false_alarm_rate contamination",
    "generator": "backbone prompt source_prompt tiny_decoder seed",
    "output": "refine thrift no_second_opinion traversal_steps fresh index of",
}


def _explain(options: Options) -> None:
    values = {field.name: options[field.name] for field in fields(ExplainConfig)}
    config = ExplainConfig(**{**values, "prompt": tuple(values["prompt"] or ())})
    if not options["images"]:
        others = replace(config, no_second_opinion=False)
        if others != ExplainConfig() or options["out"] is not None:
            raise UserError(
                "Name the images to explain, files or folders of them; a run's test anomalies are "
                "explained by --run alone."
            )
        _explain_run(options["run"], not config.no_second_opinion)
        return
    out = options["out"] or _OUT
    if config.detector is None and config.explainer is None and config.normal is None:
        # Those of a run.
        from ifnormal.jobs.our_files import OWN_IMAGES

        config = replace(config, explainer=options["run"])
        out = options["out"] or options["run"] / OWN_IMAGES
    from ifnormal.jobs.explain import explain_own_images
    from ifnormal.jobs.explain_options import ExplainOptions
    from ifnormal.report.second_opinion import acceptance_of

    given = ExplainOptions(
        config,
        preprocessing_config(options["preprocessing"]),
        fit_config(options["fit"]),
        diffusion_config(options["diffusion"]),
    )
    summary = explain_own_images(options["images"], given, out, tell=print)
    counts = summary.counts
    acceptance = acceptance_of(summary.head, summary.opinions)
    lines = [
        f"{counts.images:,} images read, {counts.flagged:,} flagged, {counts.skipped:,} skipped.",
        _accepted(counts, acceptance),
    ]
    if acceptance and acceptance.is_doubtful:  # what nobody should miss
        lines.reverse()
    print(*lines, sep="\n")
    if summary.improvement.changed:
        print(summary.improvement)
    if summary.images_per_second:
        print(f"{summary.images_per_second:,.1f} images/s")
    if counts.images and not counts.explained:
        print("Nothing was explained; --all takes every image, --min-score those from a score on.")
    if summary.report is None:
        print(f"Other shards have to finish {summary.folder}; the last one writes the report.")
    else:
        print(f"Explanation: {summary.folder}")
        print(f"Report: {summary.report}")


def _explain_run(run: Path, second_opinion: bool) -> None:
    from ifnormal.explanation.document import read_document
    from ifnormal.jobs.stages import explain_stage
    from ifnormal.report.second_opinion import acceptance_of

    explain_stage(run, second_opinion)
    document = read_document(run / "explanation")
    print(_accepted(document.counts, acceptance_of(document.head, document.opinions)))
    print(f"Explanation: {run / 'explanation'}")


def _accepted(counts: Counts, acceptance: Acceptance | None) -> str:
    """What the detector accepts and, where they were asked, what the independent ones do."""
    made = f"{counts.counterfactuals:,} counterfactuals of {counts.explained:,} images"
    if acceptance is None:
        return f"The detector accepts {counts.valid:,} of {made}."
    return " ".join([acceptance.sentence, *acceptance.cautions, f"These are {made}."])


def _add_options(parser: ArgumentParser) -> None:
    add_images(
        parser,
        "image files and folders of images to explain; without any, the test anomalies of the run "
        "are explained",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the explanation, its report and the fitted explainer; the default is "
        f"{_OUT}, or own-images/ in the folder of the run",
    )
    add_run(parser)
    add_config(parser, ExplainConfig)
    parser.add_class_arguments(Preprocessing, "preprocessing")
    parser.add_class_arguments(FitConfig, "fit")
    parser.add_class_arguments(DiffusionConfig, "diffusion")
    arrange(parser, _SECTIONS)


VERB = Verb(
    _explain,
    _add_options,
    "IMAGE ... --detector SPEC --normal DIR [--out DIR] [options]",
    "explain images that your own detector flags, or the test anomalies of a run",
    goes_on=True,
)
