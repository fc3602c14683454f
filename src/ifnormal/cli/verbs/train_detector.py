"""ifnormal train-detector: begin a run."""

from __future__ import annotations

from jsonargparse import ArgumentParser

from ifnormal.cli.help import arrange
from ifnormal.cli.verb import Options, Verb, add_run, default_data_root, require_data_root
from ifnormal.config import DataConfig, DetectorConfig, data_config

_SECTIONS = {
    "main options": "run seed",
    "images": "data.setup data.data_root data.outliers",
    "images of your own, for --data.setup folder": "data.normal data.anomalies "
    "data.outlier_images data.size data.channels",
    "detector": "detector.objective detector.network detector.steps detector.augment "
    "detector.false_alarm_rate detector.useful_outliers",
}


def _train_detector(options: Options) -> None:
    data, detector = data_config(options["data"]), DetectorConfig(**options["detector"])
    require_data_root(data.data_root)
    from ifnormal.jobs.stages import train_detector_stage

    train_detector_stage(options["run"], data, detector, options["seed"])
    print(f"Detector: {options['run'] / 'detector'}")


def _add_options(parser: ArgumentParser) -> None:
    add_run(parser, "--run", "--out")
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed; the same seed gives the same result"
    )
    parser.add_class_arguments(DataConfig, "data")
    parser.add_class_arguments(DetectorConfig, "detector")
    default_data_root(parser, "data.data_root")
    arrange(parser, _SECTIONS)


VERB = Verb(
    _train_detector,
    _add_options,
    "[--run DIR] [options]",
    "begin a run by training a detector; removes what an earlier run left in the folder",
)
