"""Checkpoint: what a fit that was broken off goes on from, and what tells it from another fit's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ifnormal.common.errors import UserError
from ifnormal.common.storage import load_tensors
from ifnormal.config import FitConfig
from ifnormal.detectors.black_box.queries import delete_answers
from ifnormal.detectors.detector import Detector
from ifnormal.detectors.fingerprint import detector_fingerprint, digest, probe_scores, same_scores

NAME = "checkpoint"
_OTHERS = {
    "normal images": "other normal images",
    "outliers": "other outliers",
    "detector": "another detector",
    "scores": "a detector that scores differently",
}


@dataclass(frozen=True)
class Checkpoint:
    """What `TrainingState.save` wrote.

    Attributes:
        folder: where it is.
        tensors: networks, optimizers and random state.
        facts: step, seed, configuration and material.
    """

    folder: Path
    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    @classmethod
    def read(
        cls, folder: Path, config: FitConfig, seed: int, material: Mapping[str, Any]
    ) -> Checkpoint | None:
        """The one in `folder`, if there is one.

        Raises:
            UserError: it is damaged, or was made with another configuration or other `material`.
        """
        if not (folder / f"{NAME}.json").exists():
            return None
        tensors, facts = load_tensors(folder, NAME)
        here = {**_comparable(asdict(config)), "seed": seed}
        there = {**facts["config"], "seed": facts["seed"]}
        changed = sorted(key for key in here if here[key] != there.get(key))
        if changed:
            raise UserError(
                f"The checkpoint in {folder} was made with another {changed[0]} "
                f"({there.get(changed[0])}, now {here[changed[0]]}); "
                "use the same options or another folder."
            )
        _require_same(folder, facts.get("material"), material)
        return cls(folder, tensors, facts)

    @staticmethod
    def forget(folder: Path) -> None:
        """Remove the checkpoint of an earlier fit, so that it cannot pass for one of this fit."""
        (folder / f"{NAME}.json").unlink(missing_ok=True)
        delete_answers(folder)


def last_checkpoint(folder: Path | None) -> str:
    """Where the last checkpoint is, in words."""
    path = None if folder is None else folder / f"{NAME}.json"
    return str(path) if path is not None and path.exists() else "none"


def fit_material(detector: Detector, normal: Tensor, outliers: Tensor) -> dict[str, Any]:
    """What a fit is of: a checkpoint made of other images or another detector is of no use to it.

    A black box is told apart by what is known of it, not by its scores, which cost queries.
    """
    return {
        "normal images": digest({"images": normal}),
        "outliers": digest({"images": outliers}),
        "detector": detector_fingerprint(detector),
        "scores": None if detector.is_black_box else probe_scores(detector),
    }


def _require_same(folder: Path, there: Any, here: Mapping[str, Any]) -> None:
    before = there if isinstance(there, dict) else {}
    changed = next((name for name in _OTHERS if before.get(name) != here[name]), None)
    if changed == "scores" and same_scores(before.get("scores"), here["scores"]):
        return
    if changed:
        raise UserError(
            f"The checkpoint in {folder} was made with {_OTHERS[changed]}; give the same as then, "
            "or begin anew."
        )


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration as JSON would give it back, without what does not change the result."""
    return {key: value for key, value in config.items() if key != "checkpoint_every"}
