"""Detectors, judges and diffusion models that the runs of a sweep share.

Each lies in a folder that is named by a hash of all that decides how it turns out. The first run
that needs it makes it, under a lock; `made.json` says of what, and how long that took.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from filelock import FileLock

from ifnormal.benchmarks.experiment import Workplace
from ifnormal.common.storage import read_json, write_json
from ifnormal.config import BackboneConfig, DetectorConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.detector import BuiltinDetector
from ifnormal.detectors.fingerprint import digest
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.evaluation.judge.training import judge_key
from ifnormal.jobs.made_once import (
    JUDGE_SEED,
    has_labels,
    trained_backbone,
    trained_detector,
    trained_judge,
)

_MADE = "made.json"
_HASH_LENGTH = 16
_IMAGES = (
    *("train_normal", "validation_normal", "outliers", "validation_outliers"),
    *("labelled_anomalies", "labelled_masks"),
)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Shared:
    """Where something that several runs need lies, and what making it took.

    Attributes:
        folder: below `Workplace.shared`.
        seconds: of its making, whichever run did it.
    """

    folder: Path
    seconds: float


def shared_detector(
    setup: AnomalySetup, config: DetectorConfig, seed: int, workplace: Workplace
) -> tuple[BuiltinDetector, Shared]:
    """The detector of this configuration and seed for these images."""
    found = {name: getattr(setup, name, None) for name in _IMAGES}
    images = {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}
    content = {"images": digest(images), "detector": asdict(config), "seed": seed}
    place = workplace.shared / "detectors"
    return _shared(place, content, lambda folder: trained_detector(folder, setup, config, seed))


def shared_judge(
    setup: AnomalySetup, steps: int, workplace: Workplace
) -> tuple[AttributeJudge, Shared] | None:
    """The judge of these labelled images; None where there are none.

    It knows no run and no normal class, so one judge serves all setups of a family.
    """
    if not has_labels(setup):
        return None
    content = {"key": judge_key(setup, JUDGE_SEED, steps), "seed": JUDGE_SEED, "steps": steps}
    place = workplace.shared / "judges"
    judge, shared = _shared(place, content, lambda folder: trained_judge(folder, setup, steps))
    assert judge is not None
    return judge, shared


def shared_backbone(
    setup: AnomalySetup, config: BackboneConfig, seed: int, workplace: Workplace
) -> Shared:
    """A diffusion model of these images, in `backbone/` of its folder."""
    from ifnormal.explainers.diffusion.training_material import material_of

    content = {**material_of(setup).facts(), "backbone": asdict(config), "seed": seed}
    return _shared(
        workplace.shared / "backbones",
        content,
        lambda folder: trained_backbone(folder / "backbone", setup, config, seed),
    )[1]


def _shared(
    place: Path, content: Mapping[str, Any], make_or_load: Callable[[Path], _T]
) -> tuple[_T, Shared]:
    """What `make_or_load` returns for the folder of this content, by one process at a time."""
    packed = json.dumps(content, sort_keys=True, default=str)
    folder = place / hashlib.sha256(packed.encode()).hexdigest()[:_HASH_LENGTH]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        begun = time.perf_counter()
        value = make_or_load(folder)
        if not (folder / _MADE).exists():
            seconds = round(time.perf_counter() - begun, 2)
            write_json(folder / _MADE, {"seconds": seconds, "of": content})
        return value, Shared(folder, read_json(folder / _MADE)["seconds"])
