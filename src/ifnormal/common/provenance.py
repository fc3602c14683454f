"""Provenance: the versions, commit and machine that a result was made with."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]


def provenance() -> dict[str, Any]:
    """Versions, commit and machine: what a result was made with."""
    return {
        "versions": versions(),
        **_checkout(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def versions() -> dict[str, str]:
    """Versions and machine worth saving beside a result."""
    import torch

    packages = ("ifnormal", "torch", "numpy", "lightning-fabric", "torchmetrics", "scikit-learn")
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "cpu": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }


_version = cache(version)


@cache
def _processor() -> str:
    """The processor's model name, or what kind of processor it is."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, [*names, platform.processor(), platform.machine()]), "unknown")


@cache
def _checkout() -> dict[str, Any]:
    """The commit this package was run from, null where it is not in a git checkout of its own."""
    nothing = {"commit": None, "uncommitted_changes": None}
    # Tracked, not merely below: an environment may lie inside the checkout of another project.
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return nothing
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ".")
    if commit is None or changes is None:
        return nothing
    return {"commit": commit.strip(), "uncommitted_changes": bool(changes.strip())}


def _git(*arguments: str) -> str | None:
    """Output of a git command in the package's folder; None where it fails for any reason."""
    # A hook's GIT_DIR would name another repository, and a run must not wait for git's lock.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *arguments],
            cwd=_PACKAGE,
            env={**kept, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
