"""ifnormal train-detector: begin a run."""

from __future__ import annotations

from jsonargparse import ArgumentParser

from ifnormal.cli.verb import Options, Verb, add_run, default_data_root, require_data_root
from ifnormal.config import DataConfig, DetectorConfig, data_config


def _train_detector(options: Options) -> None:
    data, detector = data_config(options["data"]), DetectorConfig(**options["detector"])
    require_data_root(data.data_root)
    from ifnormal.jobs.stages import train_detector_stage

    train_detector_stage(options["run"], data, detector, options["seed"])
    print(f"Detector: {options['run'] / 'detector'}")


def _add_options(parser: ArgumentParser) -> None:
    add_run(parser, "--run", "--out")
    parser.add_argument("--seed", type=int, default=0, help="makes the run repeatable")
    parser.add_class_arguments(DataConfig, "data")
    parser.add_class_arguments(DetectorConfig, "detector")
    default_data_root(parser, "data.data_root")


VERB = Verb(
    _train_detector,
    _add_options,
    "[--run DIR] [options]",
    "begin a run: train a detector; what an earlier run left in the folder goes away",
)
