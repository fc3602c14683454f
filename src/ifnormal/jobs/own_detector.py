"""A detector that is trained on the normal images of a user, who names its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.by_kind import config_of_kind, setup_for_kind
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.detector import log_odds_of
from ifnormal.evaluation.auroc import auroc
from ifnormal.jobs.explain_options import ExplainOptions
from ifnormal.jobs.made_once import trained_detector
from ifnormal.jobs.tell import Tell

FEW = 20


def own_detector(
    options: ExplainOptions, folder: Path, normal: Tensor, outliers: Tensor | None, tell: Tell
) -> tuple[BuiltinDetector, dict[str, Any]]:
    """The detector in `folder`, trained there if it does not exist yet, and facts about it.

    Args:
        options: name the kind.
        folder: of the detector.
        normal: (N, C, H, W) uint8.
        outliers: (M, C, H, W) uint8; None makes synthetic ones.
        tell: takes what a user should know, a sentence at a time.

    Raises:
        UserError: see `train_detector`, or an option is of no use to a detector that is trained.
    """
    config, kind = options.explain, options.kind
    assert kind is not None
    options.refuse_options_of_models()
    if Path(kind).exists():
        tell(f"{kind} names the kind of detector; ./{kind} names the file or folder.")
    setup = setup_for_kind(kind, normal, outliers, config.seed)
    if len(normal) < FEW:
        tell(
            f"The {len(normal)} normal images are few for a detector: its threshold is set by "
            f"{len(setup.validation_normal)} of them; from {FEW} on it is better."
        )
    detector = trained_detector(
        folder, setup, config_of_kind(kind, config.false_alarm_rate), config.seed
    )
    facts = {"kind": kind, **separation(detector, setup)}
    tell(
        f"A {kind} detector was trained on {facts['trained_on']:,} normal images; its AuROC of "
        f"{facts['held_out']:,} others against synthetic outliers is {facts['auroc']:.1f} %."
    )
    return detector, {"trained_detector": facts}


def separation(detector: BuiltinDetector, setup: AnomalySetup) -> dict[str, Any]:
    """How well a detector tells the test images of a setup apart; JSON-compatible.

    Returns:
        trained_on, held_out: numbers of normal images.
        auroc: in %.
        normal_accepted: the share of the held-out normal images that it does not flag.
    """
    normal, others = (
        log_odds_of(detector, images).sigmoid()
        for images in (setup.test_normal, setup.test_anomalies)
    )
    return {
        "trained_on": len(setup.train_normal),
        "held_out": len(normal),
        "auroc": auroc(normal, others),
        "normal_accepted": float((normal <= detector.threshold).double().mean()),
    }
