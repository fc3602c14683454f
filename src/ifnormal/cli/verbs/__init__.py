"""The verbs of the command line, one file each. A new verb is a file and a line here."""

from ifnormal.cli.verb import Verb
from ifnormal.cli.verbs import (
    app,
    bench,
    check_data,
    demo,
    detectors,
    evaluate,
    explain,
    export,
    fit,
    report,
    train_backbone,
    train_detector,
)

VERBS: dict[str, Verb] = {
    "demo": demo.VERB,
    "train-backbone": train_backbone.VERB,
    "train-detector": train_detector.VERB,
    "fit": fit.VERB,
    "explain": explain.VERB,
    "evaluate": evaluate.VERB,
    "report": report.VERB,
    "check-data": check_data.VERB,
    "detectors": detectors.VERB,
    "bench": bench.VERB,
    "app": app.VERB,
    "export": export.VERB,
}
