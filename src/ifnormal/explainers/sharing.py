"""Explainers on the Hugging Face hub: fetched and published.

Only safetensors, JSON and Markdown travel: nothing is unpickled, and no code arrives.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from ifnormal.common.errors import UserError
from ifnormal.common.hub import fetch, publish, require_package
from ifnormal.common.storage import read_json, write_atomic, write_json

_WEIGHTS = ["explainer-*.safetensors", "detector/*.safetensors"]
CARD = "README.md"
# What an explainer's folder consists of; nothing else is fetched or sent.
FILES = [CARD, "explainer.json", "detector/*.json", *_WEIGHTS]


def fetch_explainer(name_or_folder: str | Path, revision: str | None, token: str | None) -> Path:
    """The folder of an explainer: the one that is named, or a copy of one on the hub.

    Raises:
        UserError: it is not there, may not be read, or cannot be reached.
    """
    folder = Path(name_or_folder)
    if not folder.is_dir():
        return fetch(str(name_or_folder), FILES, revision, token)
    if revision is not None:
        raise UserError(
            f"{folder} is a folder, which has no revision {revision}; leave the revision out."
        )
    return folder


def publish_explainer(
    save: Callable[[Path], None],
    card: str,
    repo_id: str,
    private: bool | None,
    revision: str | None,
    message: str,
    token: str | None,
) -> str:
    """Publish an explainer that `save` writes, with its model card; returns the commit's address.

    Raises:
        UserError: the hub cannot be reached or refuses.
    """
    require_package()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save(folder)
        _remove_local_paths(folder)
        write_atomic(folder / CARD, card)
        # Weights carry their digest in their name: those of an earlier commit have to go.
        return publish(folder, repo_id, FILES, _WEIGHTS, private, revision, message, token)


def _remove_local_paths(folder: Path) -> None:
    """Keep the names of files only: where they lie on this machine is nobody's business."""
    path = folder / "detector" / "detector.json"
    facts = read_json(path) if path.exists() else {}
    if facts.get("file"):
        name = Path(facts["file"]).name
        write_json(path, {**facts, "file": name, "spec": name})
    path = folder / "explainer.json"
    saved = read_json(path)
    private = ("skipped_training_images", "contamination")  # names of files, and pictures
    kept = {key: value for key, value in saved.get("facts", {}).items() if key not in private}
    if kept != saved.get("facts", {}):
        write_json(path, {**saved, "facts": kept})
