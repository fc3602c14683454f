"""How many processors a sweep may use, and how they are shared out."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ifnormal.config.checks import require

_THREADS = 2


@dataclass(frozen=True)
class Share:
    """How the cores are shared out.

    Attributes:
        jobs: runs at the same time.
        threads: of each.
    """

    jobs: int
    threads: int


def available_cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share_cores(jobs: int | None, threads: int | None, cores: int) -> Share:
    """Jobs and threads such that all cores are used and none twice, unless both are given.

    Raises:
        UserError: a number is below 1.
    """
    for name, value in (("jobs", jobs), ("threads", threads)):
        require(value is None or value >= 1, f"--{name} must be at least 1.")
    if jobs is None:
        threads = min(_THREADS, cores) if threads is None else threads
        jobs = max(1, cores // threads)
    return Share(jobs, threads or max(1, cores // jobs))
