"""The Hugging Face hub: folders fetched and published, its errors as one sentence each.

The package huggingface_hub (the extra `hub`) is loaded when it is first needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ifnormal.common.errors import UserError, one_line
from ifnormal.version import __version__


def fetch(repo_id: str, files: Sequence[str], revision: str | None, token: str | None) -> Path:
    """A local copy of a model repository.

    Args:
        repo_id: `owner/name`.
        files: patterns of the files to fetch.
        revision: a branch, tag or commit; None is the main branch.
        token: for private models; None is the one of `hf auth login`.

    Raises:
        UserError: it is not there, may not be read, or cannot be reached.
    """
    hub = require_package()
    with understood(hub, repo_id, revision):
        return Path(
            hub.snapshot_download(
                repo_id,
                revision=revision,
                token=token,
                allow_patterns=list(files),
                library_name="ifnormal",
                library_version=__version__,
            )
        )


def publish(
    folder: Path,
    repo_id: str,
    files: Sequence[str],
    replaced: Sequence[str],
    private: bool | None,
    revision: str | None,
    message: str,
    token: str | None,
) -> str:
    """Upload a folder in one commit; returns the address of the commit.

    Args:
        folder: what to upload.
        repo_id: `owner/name`; made if it is not there yet.
        files: patterns of the files to upload.
        replaced: patterns of the files of earlier commits to delete.
        private: whether a repository that is made now can be seen by its owner alone.
        revision: the branch to commit to; None is the main one.
        message: of the commit.
        token: None is the one of `hf auth login`.

    Raises:
        UserError: the hub cannot be reached or refuses.
    """
    hub = require_package()
    with understood(hub, repo_id, revision):
        api = hub.HfApi(token=token)
        repo = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            revision=revision,
            commit_message=message,
            allow_patterns=list(files),
            delete_patterns=list(replaced),
        )
        return str(getattr(commit, "commit_url", commit))


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


def require_package() -> ModuleType:
    """The package huggingface_hub.

    Raises:
        UserError: it is not installed.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"The hub needs huggingface_hub ({error}); run "
            'pip install "ifnormal[hub]", or name a folder.'
        ) from None
    return huggingface_hub
