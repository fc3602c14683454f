"""A detector that is trained on the normal images of a user, who has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifnormal.data.sampling import generator
from ifnormal.data.setups.given_images import setup_of_images
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.by_kind import config_of_kind, setup_for_kind
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.builtin.kinds import KINDS
from ifnormal.detectors.builtin.training import train_detectors
from ifnormal.detectors.detector import log_odds_of
from ifnormal.evaluation.auroc import auroc
from ifnormal.jobs.explain_options import ExplainOptions
from ifnormal.jobs.made_once import trained_detector
from ifnormal.jobs.tell import Tell
from ifnormal.report.trained_detector import trained_sentences

# Of equally good ones the first is taken, which is the fastest. All read the same features.
CANDIDATES = ("mvg", "padim", "patchcore")
MOST_NORMAL = 1000  # half a minute for the features
FEW = 20


def own_detector(
    options: ExplainOptions, folder: Path, normal: Tensor, outliers: Tensor | None, tell: Tell
) -> tuple[BuiltinDetector, dict[str, Any]]:
    """The detector of the kind that the options name, or of the best of `CANDIDATES`.

    Args:
        options: may name the kind.
        folder: of the detector. One of a kind that was named is not trained there again.
        normal: (N, C, H, W) uint8.
        outliers: (M, C, H, W) uint8; None makes synthetic ones.
        tell: takes what a user should know, a sentence at a time.

    Returns:
        The detector, saved in `folder`, and facts about it; JSON-compatible.

    Raises:
        UserError: see `train_detector`, or an option is of no use to a detector that is trained.
    """
    config, kind = options.explain, options.kind
    options.refuse_options_of_models()
    if kind is not None and Path(kind).exists():
        tell(f"{kind} names the kind of detector; ./{kind} names the file or folder.")
    if len(normal) < FEW:
        tell(
            f"{len(normal)} normal images are few for a detector, whose threshold is set by a "
            f"third of them at most; {FEW} and more make it better."
        )
    if kind is None:
        return _best(options, folder, normal, outliers, tell)
    setup = setup_for_kind(kind, normal, outliers, config.seed)
    options_of_kind = config_of_kind(kind, config.false_alarm_rate)
    detector = trained_detector(folder, setup, options_of_kind, config.seed)
    facts = {"trained_detector": {"kind": kind, **separation(detector, setup)}}
    tell(" ".join(trained_sentences(facts)))
    return detector, facts


def _best(
    options: ExplainOptions, folder: Path, normal: Tensor, outliers: Tensor | None, tell: Tell
) -> tuple[BuiltinDetector, dict[str, Any]]:
    """Train all candidates on the same features, and save the one that separates best."""
    config, kinds = options.explain, [kind for kind in CANDIDATES if kind in KINDS]
    order = torch.randperm(len(normal), generator=generator(0, "images to choose a detector by"))
    used = normal[order[:MOST_NORMAL]]
    setup = setup_of_images(used, config.seed, outliers=outliers, synthetic=0)
    configs = [config_of_kind(kind, config.false_alarm_rate) for kind in kinds]
    trained = train_detectors(setup, configs, config.seed)
    found = {
        kind: separation(detector, setup) for kind, detector in zip(kinds, trained, strict=True)
    }
    best = max(range(len(kinds)), key=lambda n: round(found[kinds[n]]["auroc"], 1))
    trained[best].save(folder)
    facts = {
        "kind": kinds[best],
        **found[kinds[best]],
        "candidates": {kind: figures["auroc"] for kind, figures in found.items()},
        "given": len(normal),
        "used": len(used),
    }
    tell(" ".join(trained_sentences({"trained_detector": facts})))
    return trained[best], {"trained_detector": facts}


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
