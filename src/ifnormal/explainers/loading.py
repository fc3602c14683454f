"""load_explainer: an explainer of any kind, told by the format in `explainer.json`."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from ifnormal.common.storage import read_json
from ifnormal.explainers.diffusion.latent_explainer import FORMAT as LATENT_FORMAT
from ifnormal.explainers.diffusion.latent_explainer import LatentExplainer
from ifnormal.explainers.explainer import Explainer

TrainedExplainer: TypeAlias = Explainer | LatentExplainer


def load_explainer(
    folder: Path, detector: str | None = None, trust: bool = False
) -> TrainedExplainer:
    """An explainer by its folder, or that of a run or an explanation with one in it.

    Args:
        folder: holds it.
        detector: SPEC of its detector; without it, what is saved with it, or with the run.
        trust: run code that a detector of a file contains.

    Raises:
        UserError: see `Explainer.load`.
    """
    if not (folder / "explainer.json").exists() and (folder / "explainer").is_dir():
        folder = folder / "explainer"
    given: str | Path | None = detector
    if given is None and not (folder / "detector").exists():
        given = folder.parent / "detector"  # of a run
    if read_json(folder / "explainer.json").get("format") == LATENT_FORMAT:
        return LatentExplainer.load(folder, given, trust=trust)
    return Explainer.load(folder, given, trust=trust)
