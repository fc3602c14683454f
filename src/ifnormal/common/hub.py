"""Explainers on the Hugging Face hub: read from there, publish there, with a model card of facts.

Only safetensors, JSON and Markdown travel, so nothing is unpickled and no code arrives. The package
huggingface_hub (the extra `hub`) is loaded when it is first needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ifnormal.common.errors import UserError, one_line
from ifnormal.common.storage import read_json, write_atomic, write_json
from ifnormal.explainers.model_card import model_card
from ifnormal.version import __version__

if TYPE_CHECKING:
    from ifnormal.explainers.explainer import Explainer

# What an explainer's folder consists of; nothing else is fetched or sent.
_WEIGHTS = ["explainer-*.safetensors", "detector/*.safetensors"]
FILES = ["README.md", "explainer.json", "detector/*.json", *_WEIGHTS]
CARD = "README.md"


def load_from_hub(
    name_or_folder: str | Path,
    detector: Any = None,
    *,
    trust: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> Explainer:
    """Load an explainer from a folder, or from the hub where there is no such folder.

    Args:
        name_or_folder: a folder that `Explainer.save` wrote, or `owner/name` on the hub.
        detector: the one it was fitted to, or the model or SPEC behind it; by default the one that
            is saved with it.
        trust: whether the saved detector may run code of its own when it is loaded.
        revision: a branch, tag or commit on the hub.
        token: for private models; by default the one of `hf auth login`.

    Raises:
        UserError: it is not there, may not be read, or cannot be reached.
    """
    from ifnormal.explainers.explainer import Explainer

    folder = Path(name_or_folder)
    if folder.is_dir():
        if revision is not None:
            raise UserError(
                f"{folder} is a folder, which has no revision {revision}; leave the revision out."
            )
    else:
        folder = _fetch(str(name_or_folder), revision, token)
    return Explainer.load(folder, detector, trust=trust)


def push_to_hub(
    explainer: Explainer,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    message: str = "Upload an explainer",
    token: str | None = None,
) -> str:
    """Publish an explainer with a model card; returns the address of the commit.

    Args:
        explainer: a fitted one.
        repo_id: `owner/name`; made if it is not there yet.
        private: whether a repository that is made now can be seen by its owner alone.
        revision: the branch to commit to; by default the main one.
        message: of the commit.
        token: by default the one of `hf auth login`.

    Raises:
        UserError: the explainer is not fitted, or the hub cannot be reached or refuses.
    """
    hub = _package()
    with TemporaryDirectory() as temporary, understood(hub, repo_id, revision):
        folder = Path(temporary)
        explainer.save(folder)
        _without_local_paths(folder)
        write_atomic(folder / CARD, model_card(explainer, repo_id))
        api = hub.HfApi(token=token)
        repo = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            revision=revision,
            commit_message=message,
            allow_patterns=FILES,
            delete_patterns=_WEIGHTS,  # weights carry their digest in their name: the old ones
        )
        return str(getattr(commit, "commit_url", commit))


def _without_local_paths(folder: Path) -> None:
    """Names of files only: where they lie on this machine is nobody's business."""
    path = folder / "detector" / "detector.json"
    facts = read_json(path) if path.exists() else {}
    if facts.get("file"):
        name = Path(facts["file"]).name
        write_json(path, {**facts, "file": name, "spec": name})
    path = folder / "explainer.json"
    facts = read_json(path)
    if facts.get("facts", {}).pop("skipped_training_images", None) is not None:
        write_json(path, facts)


def _fetch(repo_id: str, revision: str | None, token: str | None) -> Path:
    hub = _package()
    with understood(hub, repo_id, revision):
        return Path(
            hub.snapshot_download(
                repo_id,
                revision=revision,
                token=token,
                allow_patterns=FILES,
                library_name="ifnormal",
                library_version=__version__,
            )
        )


@contextmanager
def understood(hub: ModuleType, repo_id: str, revision: str | None) -> Iterator[None]:
    """The hub's errors, of many lines, as one sentence each."""
    errors: Any = hub.errors
    log_in = "log in with hf auth login"
    try:
        yield
    except UserError:
        raise
    except errors.HFValidationError:
        raise UserError(
            f"{repo_id} is no folder, nor a name on the hub such as owner/name; correct it."
        ) from None
    except errors.GatedRepoError:
        raise UserError(
            f"{repo_id} is only open to whom its owner admits; ask on its page on the hub, "
            f"then {log_in}."
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"The hub shows you no model {repo_id}; correct the name of the model or folder, "
            f"or {log_in} if it is private."
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(
            f"{repo_id} has no revision {revision}; name a branch, tag or commit of it."
        ) from None
    except errors.LocalTokenNotFoundError:
        raise UserError(f"The hub does not know who you are; {log_in}.") from None
    except errors.HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", "no status")
        reason = getattr(error, "server_message", None) or f"status {status}"
        way_out = log_in if status in (401, 403) else "try again later"
        raise UserError(
            f"The hub does not do this with {repo_id} ({one_line(reason)}); {way_out}."
        ) from None
    except (errors.LocalEntryNotFoundError, ConnectionError) as error:
        raise _unreachable(repo_id, error) from None
    except Exception as error:
        # Which HTTP client the hub's package uses, and so its errors, differs from one to the next.
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "requests"):
            raise
        raise _unreachable(repo_id, error) from None


def _unreachable(repo_id: str, error: Exception) -> UserError:
    return UserError(
        f"The hub cannot be reached for {repo_id} ({type(error).__name__}); "
        "check the network, or use a folder on this machine."
    )


def _package() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"The hub needs huggingface_hub ({error}); run "
            'pip install "ifnormal[hub]", or name a folder.'
        ) from None
    return huggingface_hub
