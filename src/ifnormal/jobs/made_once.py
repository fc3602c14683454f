"""Detectors, judges, backbones and explainers that are made the first time and loaded after."""

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
from torch import Tensor

from ifnormal.benchmarks.experiment import Workplace
from ifnormal.common.errors import UserError
from ifnormal.common.storage import read_json, write_json
from ifnormal.config import BackboneConfig, DetectorConfig, FitConfig
from ifnormal.data.setups.setup import AnomalySetup
from ifnormal.detectors.builtin.trained import TrainedDetector
from ifnormal.detectors.builtin.training import train_detector
from ifnormal.detectors.detector import Detector
from ifnormal.detectors.identity import detector_identity, digest
from ifnormal.evaluation.judge.judge import AttributeJudge
from ifnormal.evaluation.judge.training import judge_key, train_judge
from ifnormal.explainers.explainer import Explainer

# No run's seed: nobody who trains shall choose the judge.
JUDGE_SEED = 1_234_567


_MADE = "made.json"


_FITTED_TO = "fitted_to.json"


_HASHED = 16


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


def trained_detector(
    setup: AnomalySetup, config: DetectorConfig, seed: int, workplace: Workplace
) -> tuple[TrainedDetector, Shared]:
    """A detector of this configuration, trained on these images the first time it is asked for."""
    training = ("train_normal", "validation_normal", "outliers", "validation_outliers")
    extra = ("labelled_anomalies", "labelled_masks")
    images = _tensors({name: getattr(setup, name, None) for name in (*training, *extra)})
    content = {"images": digest(images), "detector": asdict(config), "seed": seed}
    folder = workplace.shared / "detectors" / _hash(content)

    def make() -> TrainedDetector:
        detector = train_detector(setup, config, seed, folder / "losses.jsonl")
        detector.save(folder)
        return detector

    return _shared(folder, "detector.json", content, make, TrainedDetector.load)


def trained_judge(
    setup: AnomalySetup, steps: int, workplace: Workplace
) -> tuple[AttributeJudge, Shared] | None:
    """A judge for these labelled images, trained the first time it is asked for.

    It knows no run and no normal class, so that one serves all setups of a family.
    """
    if setup.judge_images is None or not setup.attributes:
        return None
    content = {"key": judge_key(setup, JUDGE_SEED, steps), "seed": JUDGE_SEED, "steps": steps}
    folder = workplace.shared / "judges" / _hash(content)

    def make() -> AttributeJudge:
        judge = train_judge(setup, JUDGE_SEED, steps)
        judge.save(folder)
        return judge

    return _shared(folder, "judge.json", content, make, AttributeJudge.load)


def trained_backbone(
    setup: AnomalySetup, config: BackboneConfig, seed: int, workplace: Workplace
) -> Shared:
    """A diffusion model of these images, in `backbone/` of its folder, trained once a sweep."""
    from ifnormal.explainers.diffusion.backbone_training import train_backbone
    from ifnormal.explainers.diffusion.training_material import material_of

    material = material_of(setup)
    content = {**material.facts(), "backbone": asdict(config), "seed": seed}
    folder = workplace.shared / "backbones" / _hash(content)

    def make() -> Path:
        train_backbone(material, config, seed, folder / "backbone", resume=True)
        return folder

    return _shared(folder, "backbone/model_index.json", content, make, lambda path: path)[1]


def fitted(
    target: Path, config: FitConfig, seed: int, setup: AnomalySetup, detector: Detector
) -> Explainer:
    """An explainer of this configuration in `target`, fitted where it is not there yet."""
    identity = json.loads(json.dumps(detector_identity(detector), default=str))
    path = target / _FITTED_TO
    if path.exists() and read_json(path) != identity:
        _forget(target)  # another detector than that of the last attempt
    if (target / "explainer.json").exists():
        return Explainer.load(target, detector)
    write_json(path, identity)
    # Synthetic ones are made anew, knowing what each was made of.
    synthetic = setup.facts.get("outlier_source") == "synthetic"
    outliers = None if synthetic else setup.outliers
    explainer = Explainer(detector, config)
    resume = (target / "checkpoint.json").exists()
    try:
        explainer.fit(setup.train_normal, outliers, seed, target, resume)
    except UserError:
        if not resume:
            raise
        _forget(target)  # a checkpoint of other images or of another version
        explainer = Explainer(detector, config).fit(setup.train_normal, outliers, seed, target)
        write_json(path, identity)
    explainer.save(target)
    for path in target.glob("checkpoint*"):  # as large as the explainer, and of no use any more
        path.unlink()
    return explainer


def _shared(
    folder: Path,
    document: str,
    content: Mapping[str, Any],
    make: Callable[[], _T],
    load: Callable[[Path], _T],
) -> tuple[_T, Shared]:
    """What lies in `folder`, made under a lock if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if (folder / document).exists() and (folder / _MADE).exists():
            return load(folder), Shared(folder, read_json(folder / _MADE)["seconds"])
        begun = time.perf_counter()
        made = make()
        seconds = round(time.perf_counter() - begun, 2)
        write_json(folder / _MADE, {"seconds": seconds, "of": content})
        return made, Shared(folder, seconds)


def _tensors(named: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    return {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}


def _hash(content: Mapping[str, Any]) -> str:
    packed = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(packed.encode()).hexdigest()[:_HASHED]


def _forget(target: Path) -> None:
    """Remove an explainer and its checkpoint; the next fit begins anew."""
    for path in target.glob("*"):
        if path.is_file():
            path.unlink()
