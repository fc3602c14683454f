"""load_explainer: an explainer by its folder, or by that of a run that holds one."""

from __future__ import annotations

from pathlib import Path

from ifnormal.explainers.explainer import Explainer


def load_explainer(folder: Path, detector: str | None = None, trust: bool = False) -> Explainer:
    """An explainer by its folder, or that of a run or an explanation with one in it.

    Args:
        folder: holds it.
        detector: SPEC of its detector; without it, what is saved with it, or with the run.
        trust: run code that a detector of a file contains.

    Raises:
        UserError: see `Explainer.load`.
    """
    folder = explainer_folder(folder)
    given: str | Path | None = detector
    if given is None and not (folder / "detector").exists():
        given = folder.parent / "detector"  # of a run
    return Explainer.load(folder, given, trust=trust)


def explainer_folder(folder: Path) -> Path:
    """The folder of the explainer itself, where the one of a run or an explanation may be given."""
    if not (folder / "explainer.json").exists() and (folder / "explainer").is_dir():
        return folder / "explainer"
    return folder
